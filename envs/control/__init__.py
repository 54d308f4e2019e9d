"""Classic control with the physics as the task."""
