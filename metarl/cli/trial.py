"""A process of a study: `python -m metarl.cli.trial WORDS` is `metarl WORDS`, and ends when its standard input closes.

A study that is killed so leaves no training behind, and a training has saved its last update.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()

    from .main import main

    sys.exit(main())
