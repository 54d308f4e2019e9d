"""Pictures of tasks and worlds, and videos of trials."""
