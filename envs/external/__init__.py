"""Environments of other packages: any of Gymnasium's, MiniGrid, Meta-World."""
