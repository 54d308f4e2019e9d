"""Runs: their configs, checkpoints and records on disk."""
