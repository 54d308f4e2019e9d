"""MuJoCo bodies with velocities, directions, goals or physics as tasks."""
