"""Stands for `metarl train`: its scores follow from the settings, and an update takes no time.

`python -IS stub.py train CONFIG key=value ... --run-dir DIR --quiet`, or `train --resume DIR --quiet`.
"""

import json
import math
import os
import select
import sys
import time
from pathlib import Path

UPDATES, STEPS = 4, 100
"""Updates of a training, and environment steps of each."""


def main(words):
    if "--resume" in words:
        run_dir = Path(words[words.index("--resume") + 1])
        given = json.loads((run_dir / "given.json").read_text())
    else:
        run_dir = Path(words[words.index("--run-dir") + 1])
        run_dir.mkdir(parents=True, exist_ok=True)  # a kill may have left it empty
        given = {key: json.loads(value) for key, _, value in (word.partition("=") for word in words if "=" in word)}
        (run_dir / "given.json").write_text(json.dumps(given))
        (run_dir / "config.yaml").write_text(json.dumps({"agent": {"inner_lr": given["agent.inner_lr"]}}))
    path = run_dir / "metrics.jsonl"
    made = path.read_text().count("\n") if path.exists() else 0
    for update in range(made, UPDATES):
        time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
        if select.select([int(os.environ["METARL_LIFELINE"])], [], [], 0)[0]:
            return 143  # the process that started this one has ended
        if given["agent.inner_lr"] > 1:
            print(f"metarl: error: update {update}: agent/loss is nan; take a lower learning rate", file=sys.stderr)
            return 2
        distance = abs(math.log10(given["agent.inner_lr"]) + 1)
        score = (update + 1) * (1 - distance) + 0.01 * given["seed"]
        line = {"update": update, "env_steps": (update + 1) * STEPS, "validation/return_after": score}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
