"""`python -m metarl` is the same as `metarl`."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # Python puts the current folder first, where a stranger's run may lie with modules beside it.
    del sys.path[0]

from .cli.main import main  # after the line above

if __name__ == "__main__":
    sys.exit(main())
