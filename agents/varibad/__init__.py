"""VariBAD: a belief over tasks, learned by a variational auto-encoder, and a policy that acts on it."""
