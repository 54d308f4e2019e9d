"""Evaluation: exact scores for scripted agents, the same bits however it is run, and files that survive."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import mujoco
import numpy as np
import pytest
from gymnasium import spaces

from metarl.base import versions as versions_module
from metarl.base.errors import MetarlError, UserCodeError
from metarl.base.streams import Streams, generator
from metarl.base.versions import commit_of, versions
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.measures import steps_before
from metarl.evaluation.record import AgentRecord, Evaluation
from metarl.evaluation.table import table
from metarl.families.batch import State
from metarl.families.distributions import LogUniform, Uniform
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.task import Horizon, Parameter, Values
from metarl.trials.agent import Agent
from metarl.trials.episodes import Episodes
from metarl.trials.plan import TrialPlan
from metarl.trials.registered import make_agent
from metarl.trials.rollout import rounds_of, run_trial
from tests.places import ROOT
from tests.probes import UnequalEpisodes
from tests.scripted import (
    Numbered,
    Scripted,
    ScriptedLearner,
    Wanderer,
    constant,
    evaluation_of,
    solved_numbers,
    solves,
    solves_after_round,
)


@dataclass(frozen=True)
class HeavyCheetah(MujocoFamily):
    """A cheetah of unknown weight that falls from where it stands and kicks: contacts, threads and a model a task."""

    name: ClassVar[str] = "heavy-cheetah"
    asset: ClassVar[str] = "half_cheetah.xml"
    horizon: Horizon = 12

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"weight": Parameter(LogUniform(0.5, 2.0))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (self.model.nq + self.model.nv,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        return 0.1 * streams.normal((model.nq,)), 0.1 * streams.normal((model.nv,))

    def edit_model(self, model: mujoco.MjModel, task: Values) -> None:
        model.body_mass *= task["weight"]

    def observation(self, state: State) -> np.ndarray:
        return np.concatenate([state["qpos"], state["qvel"]], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return (after["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt

    def terminated(self, state: State, task: Values) -> np.ndarray:
        return np.abs(state["qvel"][:, 0]) > 0.6


@dataclass(frozen=True)
class UnequalAtZero(UnequalEpisodes):
    """Episodes of unequal length in which every reward is minus zero: a sign that padding can flip."""

    name: ClassVar[str] = "unequal-at-zero"

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return np.full(len(action), -0.0)


@dataclass(frozen=True)
class Diverges(Numbered):
    """Pays what no sum holds in the tasks above one half."""

    name: ClassVar[str] = "diverges"

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return np.where(task["number"] > 0.5, 1e300, 1.0)


NOISY: list[tuple[TaskFamily, int]] = [(UnequalEpisodes(horizon=40), 2), (HeavyCheetah(), 6)]
"""Families with episodes of different length and noise everywhere, with the size of their actions."""


# Scores


def test_scripted_agent_that_solves_4_of_20_scores_exactly_0_20() -> None:
    tasks = Numbered().sample("test", 20, seed=3)
    for replicas in (1, 3):
        agent = solves(solved_numbers(tasks, 4))
        evaluation = evaluate(agent, Numbered(), num_tasks=20, rounds=3, replicas=replicas, seed=3)
        # The four end in one step and could play seven episodes while the others play one: each counts once.
        assert evaluation.success_rate is not None
        assert evaluation.success_rate.tolist() == [0.20, 0.20, 0.20]
        assert evaluation.mean.tolist() == [0.20, 0.20, 0.20]
        assert json.loads(evaluation.to_json())["success_rate"] == [0.20, 0.20, 0.20]
        solved = np.isin(tasks.values["number"], solved_numbers(tasks, 4))
        np.testing.assert_array_equal(evaluation.returns, np.repeat(solved[:, None], 3, axis=1))


def test_replicas_that_adapt_apart_cost_only_their_own_steps() -> None:
    agent = constant(0)
    together = evaluate(agent, Numbered(horizon=7), num_tasks=3, replicas=5)
    agent.pools_replicas = False
    apart = evaluate(agent, Numbered(horizon=7), num_tasks=3, replicas=5)
    assert together.env_steps.tolist() == [35, 70]
    assert apart.env_steps.tolist() == [7, 14]


@pytest.mark.parametrize("pooled", [True, False])
def test_a_budget_measures_every_so_many_rounds_of_the_same_trial_and_counts_all(pooled: bool) -> None:
    agent = solves_after_round(3)
    agent.pools_replicas = pooled
    every = evaluate(agent, Numbered(), num_tasks=5, rounds=7, replicas=2)
    sparse = evaluate(agent, Numbered(), num_tasks=5, rounds=3, budget=3, replicas=2)
    assert [len(learner.adapted_to) for learner in agent.learners] == [6, 6]
    np.testing.assert_array_equal(sparse.returns, every.returns[:, [0, 3, 6]])
    # What is spent before a measured round is spent by the end of the one before it.
    np.testing.assert_array_equal(steps_before(sparse.env_steps), steps_before(every.env_steps)[[0, 3, 6]])
    assert sparse.env_steps[-1] == every.env_steps[-1]
    assert (sparse.plan.budget, sparse.label) == (3, "Scripted budget=3")
    assert "budget 3: 2 more rounds after each but the last" in table([sparse])


def test_a_budget_in_a_single_round_is_refused() -> None:
    with pytest.raises(MetarlError, match="budget is 5 and rounds is 1; a budget lies between measured rounds"):
        evaluate(constant(0), Numbered(), rounds=1, budget=5)


def test_a_deterministic_agent_takes_its_mode_in_every_round_and_the_file_says_so(tmp_path: Path) -> None:
    agent = constant(0)
    agent.pools_replicas = False
    noisy, still = (evaluate(agent, Numbered(), num_tasks=3, rounds=2, deterministic=mode) for mode in (False, True))
    assert [set(learner.deterministic) for learner in agent.learners] == [{False}, {True}]
    assert len(agent.learners[1].deterministic) == 2 * Numbered().horizon
    assert (noisy.label, still.label) == ("Scripted", "Scripted deterministic")
    still.save(tmp_path / "still.json")
    assert Evaluation.load(tmp_path / "still.json").plan.deterministic


def test_an_agent_that_learns_from_its_noise_has_no_deterministic_round_to_adapt_to() -> None:
    with pytest.raises(MetarlError, match="Scripted learns between rounds from the exploration noise of all replicas"):
        evaluate(constant(0), Numbered(), rounds=2, deterministic=True)
    agent = constant(1)
    evaluate(agent, Numbered(), num_tasks=3, rounds=1, deterministic=True)
    assert agent.learners[0].deterministic == [True]


def test_a_long_budget_keeps_no_round_in_memory() -> None:
    kept: list[Any] = []
    agent = Scripted(lambda timestep, adapted: np.zeros(timestep.active.shape, dtype=np.int64))

    class Forgetful(ScriptedLearner):
        def adapt(self, episodes: Episodes) -> None:
            kept.append(weakref.ref(episodes))

    agent.begin = lambda streams: Forgetful(agent.script)  # type: ignore[method-assign]
    evaluate(agent, Numbered(), num_tasks=2, rounds=2, budget=20)
    assert len(kept) == 20
    assert not any(reference() for reference in kept)


def test_a_plan_repeats_an_evaluation_and_keywords_change_it() -> None:
    first = evaluate(Wanderer(2), UnequalEpisodes(), num_tasks=5, rounds=3, replicas=2, seed=4)
    assert first.plan == TrialPlan(num_tasks=5, rounds=3, replicas=2, seed=4)
    again = evaluate(Wanderer(2), UnequalEpisodes(), first.plan)
    assert again.to_json() == first.to_json()
    other = evaluate(Wanderer(2), UnequalEpisodes(), first.plan, seed=5)
    assert other.plan == replace(first.plan, seed=5)
    assert not np.array_equal(other.returns, first.returns)


def test_a_keyword_that_is_no_field_of_the_plan_is_a_type_error() -> None:
    family = load("point-dense")
    with pytest.raises(TypeError, match=r"evaluate\(\) got .* argument 'num_task'; did you mean 'num_tasks'\?"):
        evaluate(make_agent("random", family), family, num_task=4)


def test_a_file_of_an_older_format_is_refused(tmp_path: Path) -> None:
    document = json.loads(evaluation_of(np.zeros((3, 2))).to_json())
    (tmp_path / "old.json").write_text(json.dumps({**document, "format": "metarl evaluation 1"}))
    with pytest.raises(MetarlError, match="is not a file of format 'metarl evaluation 2'"):
        Evaluation.load(tmp_path / "old.json")


@pytest.mark.parametrize("name", ["returns", "successes", "env_steps_per_task"])
def test_arrays_that_do_not_fit_the_plan_are_refused(name: str) -> None:
    whole = evaluation_of(np.zeros((3, 2)))
    with pytest.raises(MetarlError, match=f"{name} has shape .3, 4.; the plan makes it .3, 2."):
        replace(whole, **{name: np.zeros((3, 4))})


def test_file_says_how_the_agent_was_trained(tmp_path: Path) -> None:
    trained = {"training_seed": 3, "updates": 50, "agent_settings": {"inner_lr": 0.1}}
    record = AgentRecord("maml-ppo", {"inner_lr": 0.2}, trained)
    evaluate(constant(1), Numbered(), num_tasks=3, record=record).save(tmp_path / "a.json")
    assert Evaluation.load(tmp_path / "a.json").agent == record


def test_env_steps_count_what_each_task_cost_over_all_replicas() -> None:
    family = Numbered(horizon=7)
    agent = solves(solved_numbers(family.sample("test", 20, seed=3), 4))
    evaluation = evaluate(agent, family, num_tasks=20, rounds=3, replicas=2, seed=3)
    solved = evaluation.returns[:, :1] == 1
    np.testing.assert_array_equal(evaluation.env_steps_per_task, np.where(solved, 1, 7) * 2 * np.arange(1, 4))
    np.testing.assert_allclose(evaluation.env_steps, (4 * 1 + 16 * 7) / 20 * 2 * np.arange(1, 4))


@pytest.mark.parametrize(("action", "score"), [(0, 0.0), (1, 1.0)])
def test_agent_that_never_changes_gains_exactly_nothing(action: int, score: float) -> None:
    evaluation = evaluate(constant(action), Numbered(), num_tasks=8, rounds=4)
    assert evaluation.iqm.tolist() == [score] * 4
    assert evaluation.interval.tolist() == [[score, score]] * 4
    assert (evaluation.gain.iqm, evaluation.gain.interval) == (0.0, (0.0, 0.0))


def test_agent_that_improves_after_round_2_is_seen_to_improve_in_round_3() -> None:
    evaluation = evaluate(solves_after_round(2), Numbered(), num_tasks=8, rounds=4)
    assert evaluation.iqm.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert (evaluation.gain.iqm, evaluation.gain.interval) == (1.0, (1.0, 1.0))


def test_gain_is_paired_by_task() -> None:
    # Tasks far apart, each of which gains exactly one: only a paired interval is a point.
    first = np.linspace(-100, 100, 12)
    evaluation = evaluation_of(np.stack([first, np.zeros(12), first + 1], axis=1))
    assert evaluation.gain.iqm == pytest.approx(1.0)
    assert evaluation.gain.interval == pytest.approx((1.0, 1.0))
    assert np.diff(evaluation.interval[0]) > 50


def test_agent_that_gets_worse_is_seen_to() -> None:
    worse = Scripted(lambda timestep, adapted: np.full(timestep.active.shape, int(adapted < 2)))
    evaluation = evaluate(worse, Numbered(), num_tasks=8, rounds=4)
    assert evaluation.iqm.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert (evaluation.gain.iqm, evaluation.gain.interval) == (-1.0, (-1.0, -1.0))


def test_rewards_of_tasks_that_change_are_those_of_each_world_s_own_steps(tmp_path: Path) -> None:
    # Pole in a gravity that turns: episodes end early, so worlds come to the same step of their trial at different
    # times.
    family = load("cartpole-physics", switch_at=30, horizon=60)
    evaluation = evaluate(make_agent("random", family), family, num_tasks=4, rounds=3, replicas=5, seed=1)
    rewards = evaluation.rewards
    assert rewards is not None
    assert rewards.shape == (4, 3 * family.horizon)
    with contextlib.closing(family.make_vec(evaluation.tasks, 5)) as envs:
        seed = int(generator(1, "evaluation", "test").integers(2**63))
        trial = run_trial(make_agent("random", family), envs, 3, seed=seed)
    for task in range(4):
        played = [
            np.concatenate([each.rewards[: each.lengths[task, replica], task, replica] for each in trial.rounds])
            for replica in range(5)
        ]
        for step in range(rewards.shape[1]):
            there = [own[step] for own in played if step < len(own)]
            assert rewards[task, step] == (
                pytest.approx(np.mean(there)) if there else pytest.approx(np.nan, nan_ok=True)
            )
    evaluation.save(tmp_path / "a.json")
    np.testing.assert_array_equal(Evaluation.load(tmp_path / "a.json").rewards, rewards)


def test_rewards_of_tasks_that_stay_the_same_are_not_kept() -> None:
    evaluation = evaluate(constant(1), Numbered(), num_tasks=3)
    assert evaluation.rewards is None
    assert "rewards" not in json.loads(evaluation.to_json())


def test_returns_and_successes_are_the_mean_over_replicas() -> None:
    one_of_four = Scripted(lambda timestep, adapted: np.tile(np.arange(4) == 2, (len(timestep.active), 1)).astype(int))
    evaluation = evaluate(one_of_four, Numbered(horizon=7), num_tasks=5, replicas=4)
    np.testing.assert_array_equal(evaluation.returns, np.full((5, 2), 0.25))
    assert evaluation.success_rate is not None
    assert evaluation.success_rate.tolist() == [0.25, 0.25]
    assert evaluation.env_steps.tolist() == [22, 44]


def test_successes_of_a_family_that_knows_none_are_none() -> None:
    evaluation = evaluate(Wanderer(2), UnequalEpisodes(), num_tasks=3)
    assert evaluation.successes is None
    assert evaluation.success_rate is None
    assert json.loads(evaluation.to_json())["successes"] is None


# What is measured is what was trained for


def test_rounds_are_played_with_exploration_noise_and_adapted_between() -> None:
    agent = constant(0)
    evaluate(agent, Numbered(horizon=7), num_tasks=5, rounds=3)
    (learner,) = agent.learners
    assert learner.deterministic == [False] * 21
    assert len(learner.adapted_to) == 2


def test_evaluation_leaves_the_agent_unchanged() -> None:
    agent = Wanderer(2)
    before = pickle.dumps(agent)
    first = evaluate(agent, UnequalEpisodes(), num_tasks=6, rounds=3)
    assert pickle.dumps(agent) == before
    assert evaluate(agent, UnequalEpisodes(), num_tasks=6, rounds=3).to_json() == first.to_json()


def test_evaluation_meets_the_test_tasks_and_none_of_another_split() -> None:
    family = Numbered()
    met = evaluate(constant(0), family, num_tasks=40, seed=5).tasks.values["number"]
    np.testing.assert_array_equal(met, family.sample("test", 40, seed=5).values["number"])
    for split in ("train", "validation"):
        assert not np.isin(met, family.sample(split, 4000, seed=5).values["number"]).any()


def test_agent_is_shown_the_tasks_that_the_file_lists() -> None:
    agent = constant(0)
    evaluation = evaluate(agent, Numbered(), num_tasks=6, seed=2)
    shown = agent.learners[0].adapted_to[0].observations[0, :, 0, 0]
    listed = [task["number"] for task in json.loads(evaluation.to_json())["tasks"]]
    assert shown.tolist() == listed


def test_splits_and_seeds_share_no_noise() -> None:
    # The same weight would fall the same way if the episodes' random numbers did not name the split.
    def returns(split: str, seed: int) -> np.ndarray:
        return evaluate(Wanderer(2), OneTask(), split=split, num_tasks=10, seed=seed).returns

    runs = [returns(split, seed) for split, seed in (("test", 0), ("validation", 0), ("train", 0), ("test", 1))]
    assert len(np.unique(np.concatenate(runs))) == 4 * 20


@dataclass(frozen=True)
class OneTask(UnequalEpisodes):
    """Every task is practically the same."""

    name: ClassVar[str] = "one-task"

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"length": Parameter(Uniform(3.0, 3.0 + 1e-9))}


# The same bits


@pytest.mark.parametrize(("family", "size"), NOISY, ids=lambda value: getattr(value, "name", None))
@pytest.mark.parametrize("replicas", [1, 3])
def test_one_task_at_a_time_equals_all_at_once_to_the_bit(family: TaskFamily, size: int, replicas: int) -> None:
    def run(chunk: int | None) -> Evaluation:
        return evaluate(
            Wanderer(size), family, num_tasks=40, rounds=3, replicas=replicas, seed=7, task_chunk_size=chunk
        )

    at_once = run(None)
    assert len(np.unique(at_once.env_steps_per_task[:, 0])) > 1, "episodes must differ in length to show anything"
    assert run(1).to_json() == at_once.to_json()
    assert run(7).to_json() == at_once.to_json()


def test_sign_of_a_zero_return_does_not_depend_on_the_neighbours() -> None:
    family = UnequalAtZero()
    tasks = family.sample("test", 12, seed=0)
    returns = run_trial(Wanderer(2), family.make_vec(tasks), 2, seed=0).returns
    alone = [run_trial(Wanderer(2), family.make_vec(tasks[i : i + 1]), 2, seed=0).returns for i in range(12)]
    assert returns.tobytes() == np.concatenate(alone, axis=1).tobytes()


def test_more_tasks_do_not_change_the_first() -> None:
    few, many = (evaluate(Wanderer(2), UnequalEpisodes(), num_tasks=n) for n in (4, 9))
    np.testing.assert_array_equal(few.returns, many.returns[:4])


def test_one_and_two_simulation_threads_write_the_same_file(tmp_path: Path) -> None:
    for threads in (1, 2):
        evaluation = evaluate(Wanderer(6), HeavyCheetah(), num_tasks=9, rounds=2, replicas=2, threads=threads)
        evaluation.save(tmp_path / f"{threads}.json")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_another_process_elsewhere_writes_the_same_file(tmp_path: Path) -> None:
    code = (
        "from tests.probes import UnequalEpisodes; from tests.scripted import Wanderer\n"
        "from metarl.evaluation.evaluate import evaluate\n"
        "evaluate(Wanderer(2), UnequalEpisodes(), num_tasks=5).save('evaluation.json')"
    )
    files = []
    for place, hash_seed in (("a", "1"), ("b", "2")):
        (tmp_path / place).mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path / place, env=environment, check=True)
        files.append((tmp_path / place / "evaluation.json").read_bytes())
    assert files[0] == files[1]


# Files


def test_file_holds_what_readers_are_promised() -> None:
    agent = solves_after_round(1)
    document = json.loads(evaluate(agent, Numbered(horizon=7), record=AgentRecord("me"), num_tasks=4, seed=9).to_json())
    assert document["family"] == "numbered"
    assert document["settings"] == {"horizon": 7}
    assert document["agent"] == {"name": "me", "settings": {}, "trained": None, "oracle": False}
    assert document["plan"] == asdict(TrialPlan(num_tasks=4, seed=9))
    assert document["tasks"] == list(Numbered().sample("test", 4, seed=9))
    assert document["returns"] == [[0.0, 1.0]] * 4
    assert document["env_steps"] == [7, 8]
    assert document["iqm"] == [0.0, 1.0]
    assert document["interval"] == [[0.0, 0.0], [1.0, 1.0]]
    assert document["gain"] == {"iqm": 1.0, "interval": [1.0, 1.0]}
    assert document["versions"] == versions()


@pytest.mark.parametrize("knows_success", [True, False])
def test_loading_and_saving_gives_the_same_file(tmp_path: Path, knows_success: bool) -> None:
    returns = np.random.default_rng(0).normal(size=(6, 3))
    evaluation = evaluation_of(returns, successes=np.eye(6, 3) if knows_success else None)
    evaluation.save(tmp_path / "evaluation.json")
    Evaluation.load(tmp_path / "evaluation.json").save(tmp_path / "again.json")
    assert (tmp_path / "evaluation.json").read_bytes() == (tmp_path / "again.json").read_bytes()


def test_returns_that_are_not_finite_are_null_in_valid_json(tmp_path: Path) -> None:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    evaluation = evaluate(constant(1), Diverges(), num_tasks=8)
    document = json.loads(evaluation.to_json(), parse_constant=refuse)
    diverged = evaluation.tasks.values["number"] > 0.5
    assert 0 < diverged.sum() < 8
    assert document["returns"] == [[None, None] if bad else [1.0, 1.0] for bad in diverged]
    assert document["iqm"] == [None, None]
    assert document["gain"] == {"iqm": None, "interval": [None, None]}
    evaluation.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json").to_json() == evaluation.to_json()


PLANS: list[dict[str, Any]] = [
    {"seed": "x"},
    {"seed": 0.5},
    {"replicas": 0},
    {"rounds": 3},
    {"num_tasks": 2},
    {"deterministic": "yes"},
    {"split": 3},
    {"episodes": 3},
]
"""Changes that no plan has."""


def _damaged(document: dict[str, Any], **changes: Any) -> str:
    return json.dumps({**document, **changes})


def test_file_that_is_no_evaluation_is_refused_in_one_line_that_names_it(tmp_path: Path) -> None:
    whole = evaluation_of(np.zeros((3, 2))).to_json()
    document = json.loads(whole)
    without_returns = {name: value for name, value in document.items() if name != "returns"}
    contents = [
        *(whole[:length] for length in (0, 1, 40, len(whole) // 2, len(whole) - 3)),
        *("[]", "3", '{"family": "numbered"}', "[" * 100_000, "\0", "PK\x03\x04"),
        json.dumps(without_returns),
        _damaged(document, returns=[[0.0, 1.0]]),
        _damaged(document, returns=[]),
        _damaged(document, returns=[[1.0], [1.0, 2.0], [3.0]]),
        _damaged(document, returns="nonsense"),
        _damaged(document, agent={**document["agent"], "settings": [1]}),
        _damaged(document, agent={**document["agent"], "settings": None}),
        _damaged(document, agent={**document["agent"], "trained": 3}),
        _damaged(document, agent={**document["agent"], "oracle": "no"}),
        _damaged(document, plan={key: value for key, value in document["plan"].items() if key != "rounds"}),
        _damaged(document, plan={**document["plan"], "num_tasks": True}),
        _damaged(document, tasks=[]),
        _damaged(document, tasks=[{"number": 1.0}, {}, {}]),
        _damaged(document, task_index=[0]),
        _damaged(document, successes=[[1.0]]),
        _damaged(document, env_steps_per_task=None),
        _damaged(document, settings=3),
        _damaged(document, settings={"switch_at": 5}),
        _damaged(document, settings={"switch_at": ["a"]}),
        _damaged(document, env_steps_per_task=[["a", {}]] * 3),
        _damaged(document, versions={"mujoco": None}),
        _damaged(document, commit=7),
        _damaged(document, agent={"name": 7}),
        _damaged(document, agent={"nickname": "rl2"}),
        *(_damaged(document, plan={**document["plan"], **change}) for change in PLANS),
    ]
    path = tmp_path / "evaluation.json"
    for content in contents:
        path.write_text(content)
        with pytest.raises(MetarlError) as caught:
            Evaluation.load(path)
        assert str(path) in str(caught.value)
        assert "metarl evaluate" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_file_folder_and_bytes_are_refused_in_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.json", tmp_path, binary):
        with pytest.raises(MetarlError, match=str(path)):
            Evaluation.load(path)


def test_save_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "evaluation.json"
    evaluation_of(np.zeros((3, 2))).save(path)
    old = path.read_bytes()

    def fail(file: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MetarlError, match=r"evaluation\.json cannot be written \(No space left"):
        evaluation_of(np.ones((3, 2))).save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_save_makes_the_folder_and_refuses_a_path_through_a_file(tmp_path: Path) -> None:
    evaluation_of(np.zeros((3, 2))).save(tmp_path / "new" / "folder" / "evaluation.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(MetarlError, match="cannot be written"):
        evaluation_of(np.zeros((3, 2))).save(tmp_path / "file" / "evaluation.json")
    assert (tmp_path / "new" / "folder" / "evaluation.json").exists()


# Mistakes


@pytest.mark.parametrize("name", ["num_tasks", "rounds", "budget", "replicas", "task_chunk_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(MetarlError, match=f"{name} is {value}; it must be at least 1"):
        evaluate(constant(0), Numbered(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("split", ["tset", "extrapolation"])
def test_split_that_is_not_there_is_refused(split: str) -> None:
    with pytest.raises(MetarlError, match="test"):
        evaluate(constant(0), Numbered(), split=split)


def test_environment_is_closed_even_when_the_agent_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr("metarl.families.vector.BatchedEnv.close", lambda self: closed.append(self.num_tasks))
    with pytest.raises(UserCodeError, match="begin: IndexError"):
        evaluate(_failing(), Numbered(), num_tasks=3, task_chunk_size=2)
    assert closed == [2]


def _failing() -> Any:
    class Failing(Agent):
        def begin(self, streams: Streams) -> NoReturn:
            raise IndexError

    return Failing()


# Versions


def test_versions_name_what_moves_numbers_without_importing_it() -> None:
    code = "import sys; from metarl.base.versions import versions; print(*versions(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["metarl", "gymnasium", "mujoco", "numpy", "scipy", "torch", "False"]
    assert versions()["numpy"] == np.__version__
    assert versions()["mujoco"] == mujoco.__version__


def _git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_commit_is_that_of_the_checkout_that_holds_the_file(tmp_path: Path) -> None:
    inside = tmp_path / "inside.py"
    inside.write_text("")
    assert commit_of(inside) is None, "no repository"
    _git(tmp_path, "init", "-q")
    assert commit_of(inside) is None, "no commit"
    _git(tmp_path, "add", "inside.py")
    _git(tmp_path, "commit", "-q", "--no-verify", "-m", "first")
    assert commit_of(inside) == _git(tmp_path, "rev-parse", "HEAD")


def test_package_installed_below_another_checkout_has_not_its_commit(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "theirs.py")
    _git(tmp_path, "commit", "-q", "--no-verify", "-m", "first")
    installed = tmp_path / "venv" / "versions.py"
    installed.parent.mkdir()
    installed.write_text("")
    assert commit_of(installed) is None


def test_commit_is_none_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit_of(Path(versions_module.__file__)) is None
    assert commit_of(Path("/no/such/folder/file.py")) is None


@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_episodes_whose_physics_broke_down_are_counted_over_all_tasks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], chunk: int | None
) -> None:
    def broken(*arguments: Any, **settings: Any) -> Iterator[Episodes]:
        for episodes in rounds_of(*arguments, **settings):
            yield replace(episodes, unstable=np.ones(episodes.lengths.shape, dtype=bool))

    monkeypatch.setattr("metarl.evaluation.evaluate.rounds_of", broken)
    evaluate(constant(1), Numbered(), num_tasks=3, rounds=2, replicas=2, task_chunk_size=chunk)
    assert "the physics broke down in 12 of 12 episodes" in capsys.readouterr().err
