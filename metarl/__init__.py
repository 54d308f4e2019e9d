"""Meta-reinforcement learning: task distributions, agents that adapt, and one honest measure of adaptation.

Importing it registers every family with Gymnasium, so that `gymnasium.make("metarl/HalfCheetahVelocity-v0")` works. It
imports neither torch nor mujoco: what is used is imported when it is first used.
"""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not (Path(__file__).parent / "envs").exists():
    # Imported from a clone, where `envs` and `agents` stand beside this folder: Python run at the top of the clone
    # finds this folder first, whatever is installed.
    __path__.append(str(Path(__file__).parent.parent))

from .base.versions import __version__

if TYPE_CHECKING:
    from .adapters.stable_baselines3 import make_sb3_vec as make_sb3_vec
    from .base.errors import MetarlError as MetarlError
    from .base.settings import Settings as Settings
    from .base.streams import Streams as Streams
    from .checks.check import check_agent as check_agent
    from .checks.check import check_family as check_family
    from .evaluation.evaluate import evaluate as evaluate
    from .evaluation.pareto import pareto_front as pareto_front
    from .evaluation.record import AgentRecord as AgentRecord
    from .evaluation.record import Evaluation as Evaluation
    from .families.arrays import ArrayFamily as ArrayFamily
    from .families.classes import ClassFamily as ClassFamily
    from .families.distributions import Choice as Choice
    from .families.distributions import Circle as Circle
    from .families.distributions import Dirichlet as Dirichlet
    from .families.distributions import Disc as Disc
    from .families.distributions import LogUniform as LogUniform
    from .families.distributions import Normal as Normal
    from .families.distributions import Subset as Subset
    from .families.distributions import Uniform as Uniform
    from .families.family import TaskFamily as TaskFamily
    from .families.family import register as register
    from .families.in_turn import InTurn as InTurn
    from .families.load import load as load
    from .families.mujoco.family import MujocoFamily as MujocoFamily
    from .families.outcomes import Outcome as Outcome
    from .families.question_batch import Questions as Questions
    from .families.questions import QuestionFamily as QuestionFamily
    from .families.task import Measure as Measure
    from .families.task import Parameter as Parameter
    from .families.task import Tasks as Tasks
    from .families.vector import BatchedEnv as BatchedEnv
    from .families.vectors import VectorFamily as VectorFamily
    from .runs.policy import load_policy as load_policy
    from .runs.run import load_run as load_run
    from .training.train import meta_train as meta_train
    from .trials.agent import Agent as Agent
    from .trials.agent import AnsweringLearner as AnsweringLearner
    from .trials.agent import Learner as Learner
    from .trials.agent import Oracle as Oracle
    from .trials.agent import TrainableAgent as TrainableAgent
    from .trials.episodes import Episodes as Episodes
    from .trials.episodes import TimeStep as TimeStep
    from .trials.episodes import Trial as Trial
    from .trials.plan import TrialPlan as TrialPlan
    from .trials.policy import Policy as Policy
    from .trials.registered import make_agent as make_agent
    from .trials.registered import register_agent as register_agent
    from .trials.rollout import rollout as rollout
    from .trials.rollout import run_trial as run_trial

_EXPORTS = {
    "Agent": "trials.agent",
    "AgentRecord": "evaluation.record",
    "AnsweringLearner": "trials.agent",
    "ArrayFamily": "families.arrays",
    "BatchedEnv": "families.vector",
    "check_agent": "checks.check",
    "check_family": "checks.check",
    "Choice": "families.distributions",
    "Circle": "families.distributions",
    "ClassFamily": "families.classes",
    "Dirichlet": "families.distributions",
    "Disc": "families.distributions",
    "Episodes": "trials.episodes",
    "evaluate": "evaluation.evaluate",
    "Evaluation": "evaluation.record",
    "InTurn": "families.in_turn",
    "Learner": "trials.agent",
    "load": "families.load",
    "load_policy": "runs.policy",
    "load_run": "runs.run",
    "LogUniform": "families.distributions",
    "make_agent": "trials.registered",
    "make_sb3_vec": "adapters.stable_baselines3",
    "Measure": "families.task",
    "meta_train": "training.train",
    "MetarlError": "base.errors",
    "MujocoFamily": "families.mujoco.family",
    "Normal": "families.distributions",
    "Oracle": "trials.agent",
    "Outcome": "families.outcomes",
    "Parameter": "families.task",
    "pareto_front": "evaluation.pareto",
    "Policy": "trials.policy",
    "QuestionFamily": "families.questions",
    "Questions": "families.question_batch",
    "register": "families.family",
    "register_agent": "trials.registered",
    "rollout": "trials.rollout",
    "run_trial": "trials.rollout",
    "Settings": "base.settings",
    "Streams": "base.streams",
    "Subset": "families.distributions",
    "TaskFamily": "families.family",
    "Tasks": "families.task",
    "TimeStep": "trials.episodes",
    "TrainableAgent": "trials.agent",
    "Trial": "trials.episodes",
    "TrialPlan": "trials.plan",
    "Uniform": "families.distributions",
    "VectorFamily": "families.vectors",
}
"""Public name to the module that defines it."""

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'metarl' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])


def _end_on_interrupt() -> None:
    """Let Ctrl-C end a command that is being loaded without a traceback. Once it is loaded, it handles signals."""
    command = Path((sys.argv or [""])[0]).name in ("metarl", "metarl.exe", "-m")
    if command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _register_ids() -> None:
    """Import every family, which registers its Gymnasium id."""
    from .families.family import FAMILIES

    FAMILIES.load()


_end_on_interrupt()
_register_ids()
