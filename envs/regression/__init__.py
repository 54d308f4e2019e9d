"""Curves to be guessed from a few of their points."""
