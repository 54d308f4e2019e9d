"""RL^2: a memory that learns to explore and to exploit."""
