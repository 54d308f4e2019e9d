"""The trained agent of a run, in a loop of the user's own."""

from __future__ import annotations

from pathlib import Path

from ..trials.policy import Policy
from .run import load_run


def load_policy(
    run_dir: str | Path,
    checkpoint: str = "best",
    *,
    device: str | None = None,
    num_envs: int | None = None,
    deterministic: bool = False,
    seed: int = 0,
) -> Policy:
    """Return the trained agent of a run as a policy, at the start of a trial.

    Args:
        run_dir: Folder of the run.
        checkpoint: 'best' or 'last'.
        device: Device of the networks; None takes the run's.
        num_envs: Number of environments, each with a task of its own; None for a single one without an axis of them.
        deterministic: Take the agent's mode at every step instead of a sample.
        seed: Seed of the agent's samples.

    Raises:
        MetarlError: for a missing run, a missing or damaged checkpoint, and an oracle.
    """
    run = load_run(run_dir, checkpoint, device=device)
    return Policy(
        run.agent,
        run.family,
        num_envs=num_envs,
        # What learns from all replicas together was trained to adapt to that many episodes. A memory adapts to each.
        episodes_per_round=run.config.replicas if run.agent.pools_replicas else 1,
        deterministic=deterministic,
        seed=seed,
    )
