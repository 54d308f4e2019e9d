"""Texts to be told apart after a few examples of each class."""
