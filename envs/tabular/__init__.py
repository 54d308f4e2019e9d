"""Bandits, finite MDPs and grids, with a known or bounded optimum."""
