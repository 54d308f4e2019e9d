"""MAML as an agent: updates, adaptation, learning, and errors that leave it unchanged."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.maml.agent import MAML
from metarl.agents.maml.records import Round

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.agent import AGENT_CHECKS
from metarl.checks.at_once import check_threads
from metarl.checks.probes import Subject, probes
from metarl.families.load import load
from metarl.trials.registered import AGENTS, make_agent
from metarl.trials.rollout import rollout, run_trial
from tests.agents.maml.problems import PRESETS, new_agent, play_trial
from tests.probes import Target

OPTIONS: list[dict[str, Any]] = [
    {"baseline": "network"},
    {"normalize_observations": True},
    {"outer": "trpo", "adapts": "context"},
    {"outer": {"inner_lr_kind": "learned"}, "adapts": "latent", "inner_objective": "dice"},
    {"task_chunk_size": 3, "outer": {"target_kl": 0.01, "inner_kl_coef": 0.1}},
]


# No option knows the kind of actions: each is checked with one, in turn.
@pytest.mark.parametrize(
    ("settings", "family"),
    [
        pytest.param(settings, family, marks=[pytest.mark.slow] * ((number + kind) % 2), id=f"{settings}-{kind}")
        for number, settings in enumerate(OPTIONS)
        for kind, family in enumerate(probes())
    ],
)
def test_every_option_passes_the_checks_of_agents(settings: dict[str, Any], family: Any) -> None:
    cls = type("WithSettings", (MAML,), {"Config": AGENTS["maml-ppo"].Config})
    subject = _WithSettings(cls, family, settings)
    # No option changes what learners share; the registered agents are checked on threads.
    checks = [check for check in AGENT_CHECKS if check is not check_threads]
    assert [fault for check in checks for fault in check(subject)] == []


class _WithSettings(Subject):
    def __init__(self, cls: Any, family: Any, settings: dict[str, Any]) -> None:
        object.__setattr__(self, "cls", cls)
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "settings", settings)

    def make(self, seed: int = 0) -> Any:
        config = self.cls.Config(dtype="float64", **self.settings)  # type: ignore[attr-defined]
        family = self.family
        return self.cls(config, family, seed=seed, device="cpu")


def test_adaptation_under_evaluation_moves_every_task_and_never_the_agent() -> None:
    family = load("navigation-2d", horizon=10)
    agent = new_agent(family)
    before = copy.deepcopy(agent.state_dict())
    learner = agent.begin(Streams.of(1, np.arange(3)[:, None], np.arange(4)))
    envs = family.make_vec(family.sample("test", 3, seed=0), 4)
    learner.adapt(rollout(envs, learner, seed=2))
    moved = learner.fast["layers.1.bias"] - agent.parameters["layers.1.bias"].detach()
    assert (moved.abs().amax(dim=1) > 1e-4).all()
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name])


def test_only_what_adapts_is_different_in_each_task() -> None:
    family = load("navigation-2d", horizon=5)
    expected = {
        "maml-ppo": {"layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "log_std"},
        "anil": {"layers.1.weight", "layers.1.bias"},
        "cavia": {"context"},
        "latent-maml": {"latent.start"},
        "multi-task-ppo": set(),
    }
    for name, fast in expected.items():
        agent = new_agent(family, name)
        assert set(agent.over_tasks.start(3)) == fast
        trial = play_trial(agent, family, rounds=2)
        assert all(np.isfinite(list(agent.update(trial, generator(0)).values())))


def test_an_update_logs_its_measures() -> None:
    family = load("navigation-2d", horizon=5)
    every = (
        "kl inner_kl adaptation_kl entropy explained_variance gradient_norm inner_gradient_norm task_gradient_agreement"
    )
    for name in PRESETS:
        agent = new_agent(family, name)
        metrics = agent.update(play_trial(agent, family, rounds=3), generator(0))
        expected = set(every.split()) - ({"adaptation_kl"} if name == "multi-task-ppo" else set())
        assert expected <= set(metrics), name
        if name not in ("maml-trpo", "reptile"):
            assert {"clip_fraction", "num_epochs"} <= set(metrics), name


def test_learned_step_sizes_move_with_training_and_are_logged() -> None:
    family = load("navigation-2d", horizon=10)
    for name, shape in (("meta-sgd", (4, 2)), ("maml-ppo", ())):
        kind = {} if name == "meta-sgd" else {"inner_lr_kind": "learned"}
        agent = new_agent(family, name, inner_lr=0.2, outer={"learning_rate": 1e-2, **kind})
        assert agent.parameters["inner_lr.layers.0.weight"].shape == shape
        metrics = agent.update(play_trial(agent, family, rounds=2), generator(0))
        assert metrics["inner_lr_min"] < 0.2 < metrics["inner_lr_max"]
        assert metrics["inner_lr_min"] <= metrics["inner_lr_mean"] <= metrics["inner_lr_max"]


def test_std_starts_at_initial_std_and_stays_above_min_std() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, initial_std=0.7, min_std=0.5)
    torch.testing.assert_close(agent.parameters["log_std"].detach().exp(), torch.full((2,), 0.7, dtype=torch.float64))
    with torch.no_grad():
        agent.parameters["log_std"].fill_(-3.0)
    agent.update(play_trial(agent, family, rounds=2), generator(0))
    torch.testing.assert_close(agent.parameters["log_std"].detach().exp(), torch.full((2,), 0.5, dtype=torch.float64))


def test_decoded_std_stays_above_min_std() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, "latent-maml", min_std=0.5)
    with torch.no_grad():
        agent.parameters["log_std"].fill_(-1.0)
        agent.parameters["latent.start"].fill_(0.5)
    agent.update(play_trial(agent, family, rounds=2), generator(0))
    meta = agent.parameters
    assert (
        agent.objective.adaptation.policy(meta, agent.objective.adaptation.start(meta))["log_std"].exp() >= 0.5 - 1e-9
    ).all()


def test_every_inner_step_learns_from_fresh_episodes() -> None:
    family = load("navigation-2d", horizon=5)
    trial = play_trial(new_agent(family), family, rounds=4)
    for earlier, later in zip(trial.rounds[:-1], trial.rounds[1:], strict=True):
        assert not np.allclose(earlier.actions, later.actions)


def test_more_than_one_inner_step_improves_on_one() -> None:
    family = Target()
    agent = new_agent(family, hidden_sizes=[8], inner_lr=0.1, initial_std=0.5)
    trial = play_trial(agent, family, rounds=6, tasks=20, replicas=40)
    returns = trial.returns.mean(axis=(1, 2))
    assert returns[1] > returns[0]
    assert returns[5] > returns[1]


# The gradients of the slow ones are exact by test_objective.py, where each is one of `ADAPTS` or `OBJECTIVES`.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("anil", "fomaml", "meta-sgd", "promp")))
        for name in PRESETS
        if name != "multi-task-ppo"
    ],
)
def test_meta_learning_solves_the_target_probe(name: str) -> None:
    # Noise of deviation s costs 5 s^2 a return; not knowing the target costs 5/3 more. An untrained agent has less than
    # -8 after adaptation, most of it by its noise.
    family = Target()
    inner, outer = {"cavia": (1.0, 1e-2), "latent-maml": (0.5, 5e-3), "reptile": (0.05, 0.1)}.get(name, (0.3, 1e-2))
    settings: dict[str, Any] = {"hidden_sizes": [16], "inner_lr": inner}
    if name != "maml-trpo":
        settings["outer"] = {"learning_rate": outer}
    agent = make_agent(name, family, settings, seed=0, device="cpu")
    assert isinstance(agent, MAML)
    for update in range(30):
        trial = run_trial(
            agent, family.make_vec(family.sample("train", 20, seed=0, start=20 * update), 20), 2, seed=update
        )
        before, after = trial.returns.mean(axis=(1, 2))
        if after > -4 and after > before + 1.2:
            break
        agent.update(trial, generator(0, update))
    trial = run_trial(agent, family.make_vec(family.sample("test", 40, seed=0), 20), 2, seed=0)
    before, after = trial.returns.mean(axis=(1, 2))
    assert after > -5
    assert after > before + 1


def test_one_round_is_refused_with_the_remedy() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family)
    with pytest.raises(MetarlError, match="rounds is 1; it must be at least 2"):
        agent.update(play_trial(agent, family, rounds=1), generator(0))


@pytest.mark.parametrize("name", PRESETS)
def test_a_term_that_is_not_finite_is_named_and_leaves_the_agent_unchanged(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, name)
    trial = play_trial(agent, family, rounds=2)
    agent.update(trial, generator(0))
    before = copy.deepcopy(agent.state_dict())
    real, calls = agent.over_tasks.task_gradients, []

    def poison(rounds: tuple[Round, ...]) -> Any:
        gradients, outcome = real(rounds)
        calls.append(0)
        if len(calls) < 3 and name not in ("maml-trpo", "reptile"):
            return gradients, outcome
        gradients["layers.0.bias"][1] = np.nan
        return gradients, outcome

    adapted = agent.over_tasks.adapt_to_all
    monkeypatch.setattr(agent.over_tasks, "task_gradients", poison)
    monkeypatch.setattr(
        agent.over_tasks, "adapt_to_all", lambda rounds: {n: v * np.nan for n, v in adapted(rounds).items()}
    )
    with pytest.raises(MetarlError, match=r"the meta-gradient of layers\.0\.\w+ is nan in \d of 3 tasks; take a lower"):
        agent.update(trial, generator(1))
    for key, value in agent.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_last_epoch_that_diverges_leaves_the_agent_unchanged() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, dtype="float32", outer={"learning_rate": 1e25, "num_epochs": 1})
    before = agent.state_dict()
    with pytest.raises(MetarlError, match=r"after the update: the .* KL is .*; take a lower"):
        agent.update(play_trial(agent, family, rounds=2), generator(0))
    assert all(torch.equal(value, before[name]) for name, value in agent.state_dict().items())
