"""Families of MuJoCo models: changes of a model by a task, and many worlds that step at once."""
