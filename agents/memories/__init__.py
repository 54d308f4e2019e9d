"""Memories of RL^2: recurrent networks and a Transformer behind one contract."""
