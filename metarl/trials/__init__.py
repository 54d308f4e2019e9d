"""Trials: a learner meets a batch of unknown tasks, plays rounds of episodes and adapts between them."""
