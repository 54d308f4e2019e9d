"""Gradient-based meta-learning: MAML and its relatives."""
