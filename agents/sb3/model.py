"""A model that stable-baselines3 saved, measured as it is."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces

from metarl.base.errors import MetarlError, first_line
from metarl.base.settings import Settings
from metarl.base.streams import Streams
from metarl.base.terminal import one_line
from metarl.base.threads import acting
from metarl.families.family import TaskFamily
from metarl.families.spaces import from_zero, limits, shape_of
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import TimeStep

from .inputs import Inputs

MOST_BYTES = 1 << 30
"""Most bytes that a part of a file may have when it is unpacked."""


_UNUSED = (":type:", ":serialized:", "optimizer_class", "optimizer_kwargs")
"""Keys of `policy_kwargs` that a policy needs for training alone, and those of the pickled copy."""


class SB3ModelConfig(Settings):
    """Which model."""

    path: str
    """File that `model.save` of stable-baselines3 wrote."""


class SB3Model(Agent):
    """A policy that stable-baselines3 trained and saved. It takes its mode at every step and does not adapt.

    PPO, A2C, SAC, TD3 and DQN with the library's own policies, `MlpPolicy`, `CnnPolicy` and `MultiInputPolicy`. Only
    numbers and plain settings are read from the file, never the pickled objects that it holds beside them, so that a
    stranger's file runs nothing.
    """

    Config: ClassVar[type[Settings]] = SB3ModelConfig
    pools_replicas = False

    def __init__(self, config: SB3ModelConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.space = family.action_space
        self.inputs = Inputs(family.observation_space, plain=True)
        self.policy = load_policy(Path(config.path), family, self.inputs, device)

    def begin(self, streams: Streams) -> SB3ModelLearner:
        """Return a learner that plays the policy."""
        return SB3ModelLearner(self)


class SB3ModelLearner(Learner):
    """Plays the policy's mode."""

    def __init__(self, agent: SB3Model) -> None:
        self.agent = agent

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the policy's modes, [task, replica, *action]."""
        shape = timestep.active.shape
        with acting():
            actions, _ = self.agent.policy.predict(self.agent.inputs.arrays(timestep.observations), deterministic=True)
        space = self.agent.space
        actions = actions.reshape(*shape, *shape_of(space))
        if not isinstance(space, spaces.Box):  # the library counts them from 0
            actions = actions + limits(space)[0]
        return np.asarray(actions, dtype=space.dtype)


def load_policy(path: Path, family: TaskFamily, inputs: Inputs, device: str) -> Any:
    """Return the policy of a file as stable-baselines3's class for the spaces of a family.

    Raises MetarlError for a file that is no such model, for one that needs code of its own, and for one whose spaces
    differ from the family's.
    """
    data, weights = _read(path)
    _require_raw(path, data)
    cls, settings = _policy_class(path, data), _policy_settings(path, data)
    action_space: spaces.Space[Any] = family.action_space
    if not isinstance(action_space, spaces.Box):
        action_space = from_zero(action_space)
    try:
        settings = {"features_extractor_class": _extractor(inputs, weights), **settings}
        policy = cls(inputs.space, action_space, lambda _: 0.0, **settings)
        policy.load_state_dict(weights)
    except Exception as error:  # the library's complaint about spaces or weights may be any
        raise MetarlError(
            f"{path} does not fit family {family.name!r} ({first_line(error)[:200]}); take a model of the library's "
            f"own policies that was trained on observations {one_line(str(inputs.space))} and actions "
            f"{one_line(str(action_space))}"
        ) from None
    policy.set_training_mode(False)
    return policy.to(device)


def _read(path: Path) -> tuple[Mapping[str, Any], Mapping[str, torch.Tensor]]:
    """Return the settings and the weights of a file. Pickled objects among them stay unread."""
    try:
        with zipfile.ZipFile(path) as file:
            for name in ("data", "policy.pth"):
                if file.getinfo(name).file_size > MOST_BYTES:
                    raise MetarlError(f"{path}: {name} has more than {MOST_BYTES:,} bytes; take a smaller model")
            data = json.loads(file.read("data"))
            weights = torch.load(io.BytesIO(file.read("policy.pth")), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MetarlError(f"{path} does not exist; give the file that model.save of stable-baselines3 wrote") from None
    except MetarlError:
        raise
    except Exception as error:  # a stranger's file: any error at all may come out of it
        raise MetarlError(
            f"{path} is no model of stable-baselines3 ({first_line(error)[:200]}); give a file that model.save wrote"
        ) from None
    return data, weights


def _require_raw(path: Path, data: Mapping[str, Any]) -> None:
    """Raise MetarlError for a model that saw observations scaled by `VecNormalize`, whose scale is not in the file."""
    if data.get("_last_original_obs") is not None:  # which the library keeps under VecNormalize alone
        raise MetarlError(
            f"{path} was trained under VecNormalize, and the file does not hold its scale; train without it, or write "
            "an agent that wraps the model and normalizes as VecNormalize did"
        )


def _extractor(inputs: Inputs, weights: Mapping[str, Any]) -> Any:
    """Return the class by which the library's policies extract features by default.

    A file names its policy by a pickled class alone. The observations and the names of the weights tell it as well.
    """
    from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN

    if inputs.kind == "MultiInput":
        return CombinedExtractor
    return NatureCNN if any(".cnn." in name for name in weights) else FlattenExtractor


def _policy_class(path: Path, data: Mapping[str, Any]) -> Any:
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.dqn.policies import DQNPolicy
    from stable_baselines3.sac.policies import SACPolicy
    from stable_baselines3.td3.policies import TD3Policy

    known = {cls.__module__: cls for cls in (ActorCriticPolicy, DQNPolicy, SACPolicy, TD3Policy)}
    described = data.get("policy_class")
    module = described.get("__module__") if isinstance(described, Mapping) else None
    if module not in known:
        raise MetarlError(
            f"{path} has a policy of {module!r}; models of PPO, A2C, SAC, TD3 and DQN with stable-baselines3's own "
            "policies can be measured: for others, write an agent that wraps the model"
        )
    return known[module]


def _policy_settings(path: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `policy_kwargs`. Classes in it are looked up by name, never unpickled.

    Known are torch's activations and the library's own extractors of features.
    """
    from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
    from torch.nn.modules import activation

    classes: dict[str, Any] = {str(getattr(activation, name)): getattr(activation, name) for name in activation.__all__}
    classes |= {str(cls): cls for cls in (CombinedExtractor, FlattenExtractor, NatureCNN)}

    written = {"use_sde": data.get("use_sde", False), **(data.get("policy_kwargs") or {})}
    # Not every policy takes `use_sde`.
    settings = {key: value for key, value in written.items() if key not in _UNUSED and (key != "use_sde" or value)}
    for key, value in settings.items():
        if not isinstance(value, str):
            continue
        if value in classes:
            settings[key] = classes[value]
        elif value.startswith("<"):
            raise MetarlError(
                f"{path} has policy_kwargs {key}={value}, which is code; a model with torch's activations, the "
                "library's extractors and sizes alone can be measured: for others, write an agent that wraps the model"
            )
    return settings
