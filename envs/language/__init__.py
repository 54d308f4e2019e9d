"""Sequences to be translated after a few pairs: commands into actions, and phrases into another language."""
