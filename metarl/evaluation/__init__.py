"""Evaluation: how an agent adapts to tasks it has never seen, as numbers, tables and a figure."""
