"""Meta-training: its loop, its log and its Weights & Biases run."""
