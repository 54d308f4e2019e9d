"""References: agents that are optimal, near it, or random, and oracles that are shown the task."""
