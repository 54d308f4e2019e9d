"""A student beside its teacher: how often both agree, step by step, and what each costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metarl
from metarl.base.errors import MetarlError
from metarl.evaluation.agreement import Agreement, Cost, Pair, agreement, num_parameters
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, begin_learner
from metarl.trials.plan import TrialPlan
from metarl.trials.rollout import rounds_of

PLAN = TrialPlan(num_tasks=9, rounds=3, replicas=2)


def bandit() -> TaskFamily:
    return metarl.load("bernoulli-bandit", num_arms=3, horizon=7)


def agent(name: str, family: TaskFamily | None = None, **config: Any) -> Agent:
    return metarl.make_agent(name, family or bandit(), config, device="cpu")


def beside(student: str, *teachers: str, plan: TrialPlan = PLAN, family: TaskFamily | None = None) -> Agreement:
    family = family or bandit()
    made = tuple(agent(name, family) for name in teachers)
    return agreement(Pair(agent(student, family), student, made, " and ".join(teachers)), family, plan)


def test_an_agent_agrees_with_itself_and_a_random_one_by_chance() -> None:
    same = beside("greedy", "greedy")
    assert same.mean == 1.0
    assert same.shares == [[1.0] * 7] * 3
    chance = beside("random", "greedy", plan=TrialPlan(num_tasks=300, rounds=1)).mean
    assert abs(chance - 1 / 3) < 4 * np.sqrt(2 / 9 / 2100)


def test_shares_are_those_of_an_independent_count_over_what_the_student_plays_in_an_evaluation() -> None:
    family = bandit()
    found = beside("thompson", "greedy")
    envs = family.make_vec(PLAN.tasks(family), PLAN.replicas, threads=0)
    played = rounds_of(agent("thompson"), envs, seed=PLAN.trial_seed)
    paid, pulled = np.ones((9, 2, 3)), np.full((9, 2, 3), 2.0)
    for shares in found.shares:
        episodes = next(played)
        for step, share in enumerate(shares):
            right = 0
            for task, replica in np.ndindex(9, 2):
                arm = episodes.actions[step, task, replica]
                right += int(np.argmax(paid[task, replica] / pulled[task, replica]) == arm)
                paid[task, replica, arm] += episodes.rewards[step, task, replica]
                pulled[task, replica, arm] += 1
            assert share == pytest.approx(right / 18)
    counted = [share for shares in found.shares for share in shares if share is not None]
    assert found.mean == pytest.approx(np.mean(counted))


def test_each_of_several_teachers_is_asked_in_its_own_tasks_and_an_oracle_in_all() -> None:
    shares = [beside("best-arm", *names).mean for names in (("best-arm",), ("best-arm", "random"), ("random",))]
    assert shares[0] == 1.0
    assert shares[0] > shares[1] > shares[2]


class Beside(metarl.Oracle):
    """Plays what beeline does, times a factor, plus a share of the range."""

    def __init__(self, factor: float, share: float) -> None:
        self.factor, self.share = factor, share

    def begin_knowing(self, tasks: Any, streams: Any) -> metarl.Learner:
        return BesideLearner(self, begin_learner(agent("beeline", point()), tasks, streams))


class BesideLearner(metarl.Learner):
    def __init__(self, agent: Beside, learner: metarl.Learner) -> None:
        self.agent, self.learner = agent, learner

    def act(self, timestep: Any, *, deterministic: bool) -> np.ndarray:
        space = point().action_space
        moved = self.agent.share * (space.high - space.low)  # type: ignore[attr-defined]
        return np.asarray(
            self.agent.factor * self.learner.act(timestep, deterministic=deterministic) - moved, np.float32
        )


def point() -> TaskFamily:
    return metarl.load("point-sparse", horizon=6)


@pytest.mark.parametrize(("share", "agrees"), [(0.0, True), (0.09, True), (0.11, False)])
def test_actions_in_a_box_agree_within_a_tenth_of_its_range(share: float, agrees: bool) -> None:
    pair = Pair(Beside(0.0, share), "beside", (Beside(0.0, 0.0),), "still")
    assert agreement(pair, point(), TrialPlan(num_tasks=4, rounds=1)).mean == float(agrees)


def test_actions_beyond_the_box_are_those_that_the_world_takes() -> None:
    pair = Pair(Beside(3.0, 0.0), "beyond", (Beside(30.0, 0.0),), "further")
    clipped = agreement(pair, point(), TrialPlan(num_tasks=20, rounds=1))
    far = [share for share in clipped.shares[0][:1] if share is not None]
    assert far[0] > 0.3, "a step far from the goal is a whole one for both"


def test_steps_behind_the_end_of_every_episode_have_no_share() -> None:
    family = metarl.load("navigation-2d", horizon=40)
    found = beside("beeline", "beeline", family=family, plan=TrialPlan(num_tasks=3, rounds=1))
    assert found.shares[0][0] == 1.0
    assert found.shares[0][-1] is None
    assert found.mean == 1.0


def test_parameters_are_the_numbers_of_a_state_without_its_optimiser() -> None:
    student = agent("rl2", memory={"name": "gru", "hidden_size": 4})
    assert isinstance(student, metarl.TrainableAgent)
    state = {name: value for name, value in student.state_dict().items() if name != "num_updates"}
    by_hand = sum(value.numel() for name, value in state.items() if not name.startswith("optimizer."))
    assert num_parameters(student) == by_hand > 3 * 4 * 4
    assert num_parameters(agent("greedy")) is None


def test_a_file_holds_what_was_measured_and_a_damaged_one_costs_a_line(tmp_path: Path) -> None:
    found, path = beside("thompson", "greedy"), tmp_path / "teacher.json"
    found.save(path)
    assert Agreement.load(path) == found
    content = json.loads(path.read_text())
    for wrong, complaint in (
        ({**content, "mean": 2}, "mean is 2: it must be less than or equal to 1"),
        ({**content, "format": "other"}, "format is 'other'"),
        ({key: value for key, value in content.items() if key != "plan"}, "it lacks 'plan'"),
        ({**content, "more": 1}, "'more' is no entry of it"),
        ([], "is damaged"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(MetarlError, match=complaint):
            Agreement.load(path)
    path.write_text("{")
    with pytest.raises(MetarlError, match="is not whole JSON"):
        Agreement.load(path)
    with pytest.raises(MetarlError, match="does not exist"):
        Agreement.load(tmp_path / "none.json")


def test_a_plan_with_a_budget_is_refused() -> None:
    with pytest.raises(MetarlError, match="budget is 2; a teacher is asked in every round"):
        beside("greedy", "greedy", plan=TrialPlan(budget=2))


COSTS = st.builds(
    Cost,
    parameters=st.none() | st.integers(0, 2**40),
    milliseconds=st.floats(0, 1e6),
)


@settings(max_examples=30, deadline=None)
@given(
    shares=st.lists(st.lists(st.none() | st.floats(0, 1), max_size=5), min_size=1, max_size=4),
    mean=st.floats(0, 1),
    costs=st.tuples(COSTS, COSTS),
    deterministic=st.booleans(),
)
def test_every_agreement_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    shares: list[list[float | None]],
    mean: float,
    costs: tuple[Cost, Cost],
    deterministic: bool,
) -> None:
    plan = TrialPlan(rounds=len(shares), deterministic=deterministic)
    measured: dict[str, Any] = {"plan": plan, "shares": shares, "mean": mean, "student": costs[0], "teachers": costs[1]}
    made = Agreement(agent="rl2", trained={"seed": 1}, teacher="gittins", **measured)
    path = tmp_path_factory.mktemp("agreement") / "teacher.json"
    made.save(path)
    assert Agreement.load(path) == made
