"""SAC of stable-baselines3 as an agent: the library's own replay buffer and update, the run's random numbers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from metarl.agents.sb3.sac import SB3SAC
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from metarl import load
from metarl.adapters.stable_baselines3 import make_sb3_vec
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.probes import Press, Reach
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import TaskFamily
from metarl.runs.config import TrainConfig
from metarl.runs.run import load_run
from metarl.training.memory import require_training_memory
from metarl.training.train import meta_train
from metarl.trials.episodes import TimeStep, Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.sb3.draws import no_global_draws
from tests.probes import UnequalEpisodes
from tests.small_runs import config

SMALL = {"hidden_sizes": [8], "batch_size": 32, "gradient_steps": 4, "buffer_size": 500}


def new_agent(family: TaskFamily, **settings: Any) -> SB3SAC:
    return cast(SB3SAC, make_agent("sb3-sac", family, {**SMALL, **settings}, seed=0, device="cpu"))


def a_trial(agent: SB3SAC, family: TaskFamily, rounds: int = 2, num_tasks: int = 5, seed: int = 3) -> Trial:
    return run_trial(agent, family.make_vec(family.sample("train", num_tasks, seed=1), 2), rounds, seed=seed)


@pytest.mark.parametrize("family", [UnequalEpisodes(), Reach()], ids=["equal bounds", "unequal bounds"])
@pytest.mark.parametrize("ent_coef", ["auto", 0.2])
def test_update_is_that_of_the_library_on_what_it_collects_itself(family: TaskFamily, ent_coef: float | str) -> None:
    """Its own `collect_rollouts` on its own `VecEnv`, playing what our learner played, leads to the same weights."""
    agent = new_agent(family, ent_coef=ent_coef)
    tasks = family.sample("train", 1, seed=1)
    trial = run_trial(agent, family.make_vec(tasks, 1), 5, seed=3)
    theirs = copy.deepcopy(agent.model)
    env = make_sb3_vec(family, 1, tasks=tasks, seed=3)
    theirs.observation_space = env.observation_space  # which it would refuse ours for, in single precision
    theirs.set_env(env)
    played = iter(np.concatenate([e.actions[:, 0, 0] for e in trial.rounds]))
    theirs.predict = lambda *_, **__: (next(played)[None], None)  # type: ignore[method-assign]
    steps = sum(len(episodes.rewards) for episodes in trial.rounds)
    _, callback = theirs._setup_learn(steps, None)
    buffer: Any = theirs.replay_buffer
    theirs.collect_rollouts(env, callback, TrainFreq(steps, TrainFrequencyUnit.STEP), buffer, learning_starts=0)
    rng = generator(5)
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002 -- the library draws minibatches by it
    torch.manual_seed(int(rng.integers(2**63)))
    theirs.train(4, 32)
    agent.update(trial, generator(5))
    mine: Any = agent.model.replay_buffer
    assert mine.pos == buffer.pos == steps
    # Steps that the time limit cut off and, of one family, steps that ended for good.
    assert mine.timeouts.any() or isinstance(family, UnequalEpisodes)
    assert mine.dones.sum() == 5
    for name in ("observations", "next_observations", "actions", "rewards", "timeouts", "dones"):
        np.testing.assert_allclose(getattr(mine, name), getattr(buffer, name), atol=1e-6, err_msg=name)
    for (name, parameter), other in zip(agent.model.policy.named_parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-4, atol=1e-6, msg=name)
    if ent_coef == "auto":
        torch.testing.assert_close(agent.model.log_ent_coef, theirs.log_ent_coef, rtol=1e-5, atol=1e-7)


def test_each_step_is_kept_with_what_followed_it_and_a_time_limit_is_no_end() -> None:
    family = UnequalEpisodes()
    agent = new_agent(family)
    trial = a_trial(agent, family)
    agent.remember(trial.rounds)
    kept: Any = agent.model.replay_buffer
    row, kinds = 0, set()
    for episodes in trial.rounds:
        for place in np.ndindex(episodes.lengths.shape):
            for t in range(int(episodes.lengths[place])):
                last = t == episodes.lengths[place] - 1
                after = episodes.final_observations[place] if last else episodes.observations[t + 1][place]
                np.testing.assert_allclose(kept.observations[row, 0], episodes.observations[t][place], rtol=1e-6)
                np.testing.assert_allclose(kept.next_observations[row, 0], after, rtol=1e-6)
                np.testing.assert_allclose(kept.rewards[row, 0], episodes.rewards[t][place], rtol=1e-6)
                ended = kept.dones[row, 0] * (1 - kept.timeouts[row, 0])
                assert ended == episodes.terminations[t][place]
                kinds.add((bool(ended), bool(kept.timeouts[row, 0]), bool(last)))
                row += 1
    assert row == kept.pos == kept.size()
    assert kinds == {(False, False, False), (True, False, True), (False, True, True)}


def test_a_full_buffer_forgets_the_oldest_steps_first() -> None:
    family = load("navigation-2d", horizon=6)
    agent, roomy = new_agent(family, buffer_size=130), new_agent(family)
    for seed in range(3):
        trial = a_trial(agent, family, rounds=1, seed=seed)  # 60 steps
        for each in (agent, roomy):
            each.remember(trial.rounds)
    kept: Any = agent.model.replay_buffer
    assert (kept.pos, kept.full, kept.size()) == (50, True, 130)
    newest = np.roll(kept.observations, -kept.pos, axis=0)
    np.testing.assert_array_equal(newest, cast(Any, roomy.model.replay_buffer).observations[50:180])


def test_a_buffer_that_is_filled_to_the_last_step_is_full() -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, buffer_size=60)
    agent.remember(a_trial(agent, family, rounds=1).rounds)  # 60 steps
    assert agent.model.replay_buffer is not None
    assert agent.model.replay_buffer.size() == 60


def test_entropy_is_aimed_at_minus_the_number_of_action_dimensions() -> None:
    assert new_agent(load("half-cheetah-velocity")).model.target_entropy == -6


def test_a_trial_that_the_buffer_does_not_hold_is_refused_and_leaves_the_agent_as_it_was() -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, buffer_size=119)
    trial = a_trial(agent, family)
    with pytest.raises(MetarlError, match=r"buffer_size is 119, and a trial has 120 steps; take a larger one"):
        agent.update(trial, generator(0))


def test_a_buffer_that_would_outgrow_the_memory_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, buffer_size=1000)
    step = 2 * 2 * 4 + 2 * 4 + 3 * 4  # two observations of two numbers, an action of two, reward, end and timeout
    assert agent.memory_estimate(1, 1, 1) == pytest.approx(5 * 1000 * step, abs=100)
    monkeypatch.setattr("metarl.trials.memory.available_memory", lambda: 5 * 1000 * step)
    with pytest.raises(MetarlError, match=r"lower .* or family\.horizon, or agent\.buffer_size"):
        require_training_memory(agent, family, TrainConfig(**{**config(), "agent": {"name": "sb3-sac"}}))


def test_actions_lie_in_the_space_and_deterministic_ones_are_the_middle_of_the_policy() -> None:
    family = Reach()
    agent = new_agent(family)
    trial = a_trial(agent, family, rounds=4, num_tasks=40)
    actions = np.concatenate([e.actions[e.mask] for e in trial.rounds])
    space = family.action_space
    assert (actions >= space.low).all() and (actions <= space.high).all()
    # A new policy is spread over the whole of both unequal ranges.
    assert (actions.min(axis=0) < space.low + 0.1).all() and (actions.max(axis=0) > space.high - 0.1).all()
    shape = (3, 2)
    streams = Streams.of(0, "learner", np.arange(3)[:, None], np.arange(2))
    seen = generator(0).normal(size=(*shape, 3))
    none = np.zeros(shape, dtype=bool)
    step = TimeStep(seen, np.zeros((*shape, 2)), np.zeros(shape), none, none, ~none)
    theirs = agent.model.predict(seen.reshape(6, 3).astype(np.float32), deterministic=True)[0]
    mine = agent.begin(streams).act(step, deterministic=True)
    np.testing.assert_allclose(mine.reshape(6, 2), theirs, atol=1e-6)


def test_update_draws_nothing_from_the_random_numbers_of_the_process() -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family)
    trial = a_trial(agent, family)
    with no_global_draws():
        agent.update(trial, generator(0))
        new_agent(family)


@pytest.mark.parametrize("gradient_steps", [1, 4])
def test_numbers_that_are_not_finite_stop_it_and_leave_it_as_it_was(gradient_steps: int) -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, learning_rate=1e30, gradient_steps=gradient_steps)
    trial = a_trial(agent, family)
    before = agent.state_dict()
    with pytest.raises(MetarlError, match="take a lower agent"):
        for _ in range(3):
            before = agent.state_dict()
            agent.update(trial, generator(0))
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_policy_that_is_not_finite_is_told_of_in_one_line() -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family)
    with torch.no_grad():
        for parameter in agent.model.actor.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(MetarlError, match="outputs are not finite numbers"):
        a_trial(agent, family)


def test_discrete_actions_are_refused_in_one_line() -> None:
    with pytest.raises(MetarlError, match=r"continuous actions only, not Discrete\(3\); take sb3-ppo"):
        make_agent("sb3-sac", Press(), device="cpu")


def test_it_learns_one_way_for_all_tasks() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(
        family, hidden_sizes=[64], learning_rate=3e-3, gamma=0.9, batch_size=128, gradient_steps=40, buffer_size=20_000
    )
    angles = np.linspace(0, np.pi / 2, 16)
    tasks = family.tasks([{"goal": [0.4 * float(np.cos(a)), 0.4 * float(np.sin(a))]} for a in angles])
    scores = []
    for update in range(12):
        trial = run_trial(agent, family.make_vec(tasks), 1, seed=update)
        scores.append(trial.returns.mean())
        if update >= 4 and np.mean(scores[-3:]) > np.mean(scores[:2]) + 2.0:
            break
        agent.update(trial, generator(0, update))
    assert np.mean(scores[-3:]) > np.mean(scores[:2]) + 2.0


def test_a_resumed_run_ends_in_the_same_bits_and_is_measured_like_any_other(tmp_path: Path) -> None:
    settings = {**config(num_updates=4), "agent": {"name": "sb3-sac", **SMALL}}
    through = meta_train(TrainConfig(**settings), tmp_path / "through", progress=False)
    stopped = meta_train(TrainConfig(**{**settings, "num_updates": 2}), tmp_path / "stopped", progress=False)
    meta_train(TrainConfig(**settings), stopped, resume=True, progress=False)
    assert (through / "last.safetensors").read_bytes() == (stopped / "last.safetensors").read_bytes()
    run = load_run(through)
    assert np.isfinite(evaluate(run.agent, run.family, num_tasks=3, rounds=2).returns).all()
