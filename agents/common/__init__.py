"""What agents share: policies, advantages, PPO's objective, running moments, schedules."""
