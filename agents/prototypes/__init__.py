"""Agents that compare questions with examples in a learned space: classes, and numbers."""
