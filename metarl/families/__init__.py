"""Task families: parameterised environments, the distributions of their tasks, and the batched environment."""
