"""Agents that learn from right answers: gradient-based ones, and what they share with others."""
