"""`python -m tests.fuzz.bad_inputs --count 1000`: try bad inputs over all commands, and print how they end."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from tests.fuzz.kinds import KINDS, fuzz, template


def main() -> None:
    """Try the inputs and print the table; faults below it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="inputs over all kinds")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="only this kind; may be repeated")
    parser.add_argument("--seed", type=int, help="other inputs than the tests'")
    arguments = parser.parse_args()
    names = arguments.kind or list(KINDS)
    total: Counter[str] = Counter()
    faults: list[str] = []
    print(f"{'kind':<18}{'inputs':>8}{'commands':>10}{'exit 0':>8}{'exit 2':>8}{'faults':>8}{'seconds':>9}")
    with template() as site:
        for name in names:
            began = time.monotonic()
            counts, wrong = fuzz(name, -(-arguments.count // len(names)), site, seed=arguments.seed, stop=False)
            _print_row(name, counts, time.monotonic() - began)
            total.update(counts)
            faults += [f"{name}: {each}" for each in wrong]
    _print_row("all", total, 0.0)
    for each in faults:
        print(f"\n{each[:3000]}")


def _print_row(name: str, counts: Counter[str], seconds: float) -> None:
    commands = sum(count for key, count in counts.items() if key.startswith("status"))
    row = (counts["inputs"], commands, counts["status 0"], counts["status 2"], counts["faults"])
    print(f"{name:<18}{row[0]:>8}{row[1]:>10}{row[2]:>8}{row[3]:>8}{row[4]:>8}{seconds:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
