"""Families as environments of other libraries: Gymnasium and stable-baselines3."""
