"""Families of MuJoCo models: what a task changes in a model, and many worlds stepped at once."""
