"""Bounds on every count, so that a slip of the finger gets one line instead of an endless run or an overflow."""

MOST = 10**9
"""The greatest count that a setting or an option takes. What a machine holds is less: see `metarl.trials.memory`."""
MOST_THREADS = 1024
"""The greatest number of threads or processes."""
LAST_SEED = 2**63 - 1
"""The greatest seed."""
