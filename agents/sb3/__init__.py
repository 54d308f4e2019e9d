"""Agents of stable-baselines3: one policy for all tasks, and rivals from scratch."""
