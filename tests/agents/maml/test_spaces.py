"""Gradient-based agents on every kind of space: what adapts, exact gradients through the encoder, and learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.common.encoders import ObservationEncoder
from metarl.agents.common.heads import action_head
from metarl.agents.maml.baseline_inputs import MOST_FEATURES, BaselineInputs
from metarl.agents.maml.over_tasks import OverTasks
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Choice
from metarl.families.task import Horizon, Parameter, Values
from metarl.runs.config import TrainConfig
from metarl.training.memory import require_training_memory
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.maml import problems
from tests.families.kinds import ACTIONS, OBSERVATIONS, ArrayMeters

SMALL: dict[str, Any] = {"channels": [4], "image_features": 8}
"""Settings of a small encoder."""
PAIRS = [*((seen, "box") for seen in OBSERVATIONS), *(("tuple", acted) for acted in ACTIONS if acted != "box")]
"""Every kind of observation, and every kind of action."""


# Encoders and heads are those of maml-ppo; test_every_preset_reads_images has the others read and act.
@pytest.mark.parametrize(
    "name", ["maml-ppo", *(pytest.param(n, marks=pytest.mark.slow) for n in ("maml-trpo", "cavia"))]
)
@pytest.mark.parametrize(("seen", "acted"), PAIRS)
def test_every_kind_of_space_is_played_and_learned_from(name: str, seen: str, acted: str) -> None:
    family = ArrayMeters(seen=seen, acted=acted)
    agent: Any = problems.new_agent(family, name, normalize_observations=True, encoder=SMALL)
    before = {key: value.detach().clone() for key, value in agent.parameters.items()}
    for update in range(2):
        tasks = family.sample("train", 3, seed=0, start=3 * update)
        trial = run_trial(agent, family.make_vec(tasks, 2), 2, seed=update)
        assert np.isfinite(list(agent.update(trial, generator(0, update)).values())).all()
    if name != "maml-trpo":  # whose line search may take no step
        learned = {key: value for key, value in agent.parameters.items() if key.startswith(("encoder.", "layers.1."))}
        still = [key for key, value in learned.items() if torch.equal(value, before[key])]
        assert not still


@pytest.mark.parametrize("name", problems.PRESETS)
def test_every_preset_reads_images(name: str) -> None:
    family = ArrayMeters(seen="dict", acted="multi-discrete")
    agent: Any = problems.new_agent(family, name, encoder=SMALL)
    trial = run_trial(agent, family.make_vec(family.sample("train", 2, seed=0), 2), 2, seed=0)
    assert np.isfinite(list(agent.update(trial, generator(0)).values())).all()


@pytest.mark.parametrize("adapts", sorted(problems.ADAPTS))
def test_the_meta_gradient_reaches_through_convolutions_and_inner_steps(adapts: str) -> None:
    settings = {**problems.ADAPTS[adapts], "encoder": SMALL}
    agent, rounds = problems.prepare(ArrayMeters(seen="dict"), 3, **settings)
    problems.compare_with_finite_differences(agent, rounds, step=1e-7)  # a longer one would cross a kink of a ReLU
    gradient = problems.mean_gradient(agent, rounds)
    assert all(value.abs().max() > 0 for name, value in gradient.items() if name.startswith("encoder."))


@pytest.mark.parametrize("acted", [acted for acted in ACTIONS if acted != "box"])
def test_the_meta_gradient_of_discrete_actions_is_exact(acted: str) -> None:
    agent, rounds = problems.prepare(ArrayMeters(seen="multi-binary", acted=acted), 3)
    problems.compare_with_finite_differences(agent, rounds)


@pytest.mark.parametrize("acted", ACTIONS)
def test_products_with_the_hessian_of_the_kl_are_slopes_of_its_gradient(acted: str) -> None:
    agent, rounds = problems.prepare(ArrayMeters(seen="tuple", acted=acted), 2, outer={"name": "trpo"}, encoder=SMALL)
    noise = torch.Generator().manual_seed(2)
    direction = {n: torch.randn(p.shape, generator=noise, dtype=p.dtype) for n, p in agent.parameters.items()}
    product = agent.over_tasks.kl_products(rounds, damping=0.0)(direction)

    def kl(parameters: dict[str, Tensor]) -> Tensor:
        own = [
            agent.objective.outer_loss(parameters, tuple(problems.one_task(data, task) for data in rounds))[1].kl
            for task in range(3)
        ]
        return torch.stack(own).mean()

    ahead, behind = (
        torch.func.grad(kl)({n: p.detach() + step * direction[n] for n, p in agent.parameters.items()})
        for step in (1e-6, -1e-6)
    )
    for name, value in product.items():
        torch.testing.assert_close(value, (ahead[name] - behind[name]) / 2e-6, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("acted", ["multi-discrete", "multi-binary"])
def test_distributions_of_several_choices_are_the_same_for_each_task_in_one_call(acted: str) -> None:
    space = ACTIONS[acted]
    head = action_head(space)
    draws = torch.Generator().manual_seed(0)
    outputs, others = torch.randn(2, 3, 4, head.num_outputs, generator=draws, dtype=torch.float64)
    space.seed(0)
    drawn = np.stack([[np.asarray(space.sample()) for _ in range(4)] for _ in range(3)])
    actions = torch.as_tensor(drawn)
    together = torch.vmap(lambda o, p, a: (head.log_prob(o, a), head.entropy(o), head.kl(o, p)))(
        outputs, others, actions
    )
    for task in range(3):
        alone = (
            head.log_prob(outputs[task], actions[task]),
            head.entropy(outputs[task]),
            head.kl(outputs[task], others[task]),
        )
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[task], theirs)


def fast_names(name: str, **settings: Any) -> set[str]:
    agent = problems.new_agent(ArrayMeters(seen="dict"), name, encoder=SMALL, **settings)
    return set(agent.over_tasks.start(1))


def test_an_encoder_adapts_where_all_parameters_do_and_nowhere_else() -> None:
    assert any(name.startswith("encoder.") for name in fast_names("maml-ppo"))
    assert fast_names("anil") == {"layers.1.weight", "layers.1.bias"}
    assert fast_names("cavia") == {"context"}
    assert fast_names("latent-maml") == {"latent.start"}


@pytest.mark.parametrize("adapts", ["last layer", "context", "latent"])
def test_a_shared_encoder_is_the_same_in_all_tasks_after_adapting(adapts: str) -> None:
    family = ArrayMeters(seen="image")
    agent, rounds = problems.prepare(family, 2, **problems.ADAPTS[adapts])
    fast = agent.over_tasks.adapt_to_all(rounds)
    parameters = agent.objective.adaptation.policy(agent.parameters, {key: value[0] for key, value in fast.items()})
    for key, value in agent.parameters.items():
        if key.startswith("encoder."):
            assert torch.equal(parameters[key], value)


def test_vectors_alone_add_no_parameter() -> None:
    states = [problems.new_agent(ArrayMeters(), encoder=name).state_dict() for name in ("auto", "vector")]
    assert not any("encoder" in name for name in states[0])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_encoder_is_a_choice_and_pixels_needs_an_image() -> None:
    flat = problems.new_agent(ArrayMeters(seen="image"), encoder="vector")
    assert flat.objective.policy.network.sizes[0] == 36
    with pytest.raises(MetarlError, match="finds no image"):
        problems.new_agent(ArrayMeters(), encoder="pixels")


def test_a_task_with_images_plays_alone_as_in_a_batch() -> None:
    family = ArrayMeters(seen="dict", acted="multi-discrete")
    agent = problems.new_agent(family)
    tasks = family.sample("train", 3, seed=0)
    together = run_trial(agent, family.make_vec(tasks, 2), 2, seed=0)
    for task in range(3):
        alone = run_trial(agent, family.make_vec(tasks[task : task + 1], 2), 2, seed=0)
        for ours, theirs in zip(alone.rounds, together.rounds, strict=True):
            np.testing.assert_array_equal(ours.actions, theirs.actions[:, task : task + 1])


def test_an_update_reads_images_as_acting_did_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    family = ArrayMeters(seen="tuple")
    for chunk_size in (10_000, 5):
        monkeypatch.setattr(ObservationEncoder, "chunk_size", chunk_size)
        agent = problems.new_agent(family)
        trial = problems.play_trial(agent, family, rounds=2)
        assert agent.update(trial, generator(0))["first_ratio_deviation"] < 1e-9


def test_baselines_see_what_an_image_shows_through_few_numbers() -> None:
    space = spaces.Dict({"large": spaces.Box(0, 255, (40, 40, 1), dtype=np.uint8), "way": spaces.Discrete(3)})
    inputs = BaselineInputs(ObservationEncoder(problems.new_agent(ArrayMeters()).config.encoder, space))
    layout = inputs.encoder.layout
    light = np.random.default_rng(0).integers(0, 256, size=(5, 2, 8))
    ramp = np.linspace(0.2, 1.0, 1600).reshape(40, 40, 1)
    image = (light[..., None, None, None] * ramp).astype(np.uint8)
    rows = inputs._rows(layout.flatten({"large": image, "way": light % 3}, light.shape))
    assert rows.shape == (5, 2, 8, inputs.size) and inputs.size == 3 + MOST_FEATURES
    np.testing.assert_array_equal(rows[..., :3].argmax(-1), light % 3)
    flat = np.concatenate([rows.reshape(80, -1), np.ones((80, 1))], axis=1)
    fit = flat @ np.linalg.lstsq(flat, light.ravel(), rcond=1e-6)[0]
    assert np.abs(fit - light.ravel()).max() < 2


def on_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let as many tasks be computed at once as `task_chunk_size` allows."""
    monkeypatch.setattr(OverTasks, "at_once", lambda self, num_tasks: min(num_tasks, self.chunk_size or num_tasks))


def test_a_training_on_images_that_cannot_fit_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    family = ArrayMeters(seen="image", horizon=200)
    on_many_threads(monkeypatch)
    monkeypatch.setattr("metarl.trials.memory.available_memory", lambda: 2**30)
    whole = {"family": "array-meters", "agent": {"name": "maml-ppo"}, "meta_batch_size": 20, "replicas": 10}
    config = TrainConfig(**whole, evaluation={"num_tasks": 2})  # type: ignore[arg-type]
    with pytest.raises(MetarlError, match=r"a meta-batch would take about .*family.horizon, or agent.task_chunk_size"):
        require_training_memory(problems.new_agent(family), family, config)
    require_training_memory(problems.new_agent(family, task_chunk_size=1), family, config)


def test_the_estimate_of_memory_grows_with_what_a_gradient_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    family = ArrayMeters(seen="image")
    on_many_threads(monkeypatch)
    estimates = {
        name: problems.new_agent(family, name).memory_estimate(20, 10, 2)
        for name in ("fomaml", "maml-ppo", "maml-trpo")
    }
    assert estimates["fomaml"] < estimates["maml-ppo"] < estimates["maml-trpo"]
    assert problems.new_agent(family).memory_estimate(40, 10, 2) == 2 * estimates["maml-ppo"]


@dataclass(frozen=True)
class BrightSquare(ArrayFamily):
    """A bandit: a bright square is left or right, and the task says whether to answer its side or the other."""

    name: ClassVar[str] = "bright-square"
    horizon: Horizon = 4

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"sense": Parameter(Choice((-1.0, 1.0)))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0, 255, (8, 8, 1), dtype=np.uint8)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"side": streams.integers(2), "paid": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        agreed = np.where(action == state["side"], 1.0, -1.0)
        return {"side": streams.integers(2), "paid": agreed * task["sense"]}

    def observation(self, state: State) -> np.ndarray:
        image = np.zeros((len(state["side"]), 8, 8, 1), dtype=np.uint8)
        image[state["side"] == 0, 3:6, 1:4] = 255
        image[state["side"] == 1, 3:6, 4:7] = 255
        return image

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return after["paid"]


def test_maml_learns_to_answer_what_only_an_image_and_the_first_round_tell() -> None:
    family = BrightSquare()
    settings = {
        "encoder": {"channels": [4], "image_features": 16},
        "hidden_sizes": [16],
        "inner_lr": 2.0,
        "outer": {"learning_rate": 1e-2},
    }
    agent: Any = make_agent("maml-ppo", family, settings, seed=0, device="cpu")
    for update in range(8):
        tasks = family.sample("train", 8, seed=0, start=8 * update)
        agent.update(run_trial(agent, family.make_vec(tasks, 10), 2, seed=update), generator(0, update))
    trial = run_trial(agent, family.make_vec(family.sample("test", 40, seed=0), 10), 2, seed=0)
    before, after = (float(episodes.rewards.sum(axis=0).mean()) for episodes in trial.rounds)
    # Best is 4. Before it adapts, no policy gets more than 0: the tasks pay the opposite.
    assert before < 1.0
    assert after > before + 1.5
