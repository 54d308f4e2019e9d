"""MuJoCo bodies: velocities, directions, goals and changed physics as tasks."""
