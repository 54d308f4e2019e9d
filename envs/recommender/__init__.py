"""Recommenders: the task is the user."""
