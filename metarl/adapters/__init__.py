"""Families as the environments of other libraries: Gymnasium and stable-baselines3."""
