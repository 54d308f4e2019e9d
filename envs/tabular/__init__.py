"""Bandits, finite MDPs and grids, whose optimum is known or bounded."""
