"""The memory that a training takes, asked for before its first update."""

from __future__ import annotations

from ..families.family import TaskFamily
from ..families.questions import asks_questions
from ..runs.config import TrainConfig
from ..trials.agent import TrainableAgent
from ..trials.memory import ROUNDS_KEPT, require_memory


def require_training_memory(agent: TrainableAgent, family: TaskFamily, config: TrainConfig) -> None:
    """Raise MetarlError if a meta-batch or the validation does not fit into the memory that is free."""
    tasks, replicas, rounds = config.meta_batch_size, config.replicas, config.rounds
    own = f", or agent.{agent.memory_setting}" if agent.memory_setting else ""
    # How many questions a family asks, its own settings say.
    horizon = [] if asks_questions(family) else ["family.horizon"]
    require_memory(
        family,
        what="a meta-batch",
        tasks=tasks,
        replicas=replicas,
        rounds=rounds,
        remedy=f"lower {_either(['meta_batch_size', 'replicas', 'rounds', *horizon])}{own}",
        more=agent.memory_estimate(tasks, replicas, rounds),
    )
    require_memory(
        family,
        what="the validation",
        tasks=config.evaluation.num_tasks,
        replicas=config.evaluation.replicas or replicas,
        rounds=min(rounds, ROUNDS_KEPT),
        remedy=f"lower {_either(['evaluation.num_tasks', 'evaluation.replicas', *horizon])}",
    )


def _either(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
