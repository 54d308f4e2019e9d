"""LEO: latent codes of tasks, decoded to heads and adapted in their own space."""
