"""Agents that answer with sequences of tokens: an encoder-decoder, how it decodes, and a memory of answered pairs."""
