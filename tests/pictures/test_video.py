"""Films of trials, and the videos that `metarl render` writes of them."""

from __future__ import annotations

import contextlib
import gc
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image, ImageDraw

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import Evaluation
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Uniform
from metarl.families.load import load
from metarl.families.mujoco.canvas import choose_offscreen_backend
from metarl.families.task import Horizon, Parameter
from metarl.families.vector import BatchedEnv
from metarl.pictures import video
from metarl.pictures.film import Film, film
from metarl.pictures.video import Sheet, has_ffmpeg, require_room, video_suffix, write_video
from metarl.runs.config import TrainConfig
from metarl.training.train import meta_train
from metarl.trials.plan import TrialPlan
from metarl.trials.rollout import run_trial
from tests.scripted import Numbered, Wanderer, constant, solves_after_round
from tests.small_runs import config

FAMILY = load("navigation-2d", horizon=3)


@pytest.fixture(scope="module")
def taken() -> Film:
    return film(
        Wanderer(2), FAMILY, TrialPlan(num_tasks=5, rounds=3, replicas=2, seed=4), [0, 3], agent_name="wanderer"
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    return meta_train(TrainConfig(**config(num_updates=1)), tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_film_has_the_returns_that_evaluation_has_in_the_same_tasks(taken: Film) -> None:
    evaluation = evaluate(Wanderer(2), FAMILY, num_tasks=5, rounds=3, replicas=2, seed=4)
    np.testing.assert_array_equal(
        [[take.mean_return for take in row] for row in taken.takes], evaluation.returns[[0, 3]]
    )
    assert list(taken.tasks) == [evaluation.tasks[0], evaluation.tasks[3]]


def test_a_deterministic_film_has_the_returns_of_a_deterministic_evaluation() -> None:
    agent = constant(1)
    agent.pools_replicas = False
    plan = TrialPlan(num_tasks=2, rounds=2, deterministic=True)
    filmed = film(agent, Numbered(), plan, [0], agent_name="a")
    assert agent.learners[0].deterministic == [True, True]
    assert [take.total for take in filmed.takes[0]] == evaluate(agent, Numbered(), plan).returns[0].tolist()


def test_a_film_with_a_budget_is_refused() -> None:
    with pytest.raises(MetarlError, match="budget is 3; a film shows every round"):
        film(constant(1), Numbered(), TrialPlan(num_tasks=1, budget=3), [0], agent_name="a")


def test_the_episode_that_is_seen_is_the_first_replica(taken: Film) -> None:
    tasks = FAMILY.sample("test", 5, seed=4)
    with contextlib.closing(FAMILY.make_vec(tasks, 2)) as envs:
        trial = run_trial(Wanderer(2), envs, 3, seed=taken.plan.trial_seed)
    for row, number in enumerate([0, 3]):
        for k, take in enumerate(taken.takes[row]):
            assert take.total == trial.returns[k, number, 0] == take.running[-1]
            np.testing.assert_array_equal(take.rewards, trial.rounds[k].rewards[:, number, 0])
            assert take.running[0] == 0


def test_a_trained_agent_is_seen_as_it_was_measured(run: Path) -> None:
    from metarl.runs.run import load_run

    assert main(["evaluate", str(run), "--tasks", "6", "--replicas", "1"]) == 0
    evaluation = Evaluation.load(run / "evaluation.json")
    trained = load_run(run)
    taken = film(trained.agent, trained.family, TrialPlan(num_tasks=6, rounds=2), [1, 5], agent_name="a")
    np.testing.assert_array_equal([[take.total for take in row] for row in taken.takes], evaluation.returns[[1, 5]])


def test_pictures_are_of_the_start_every_few_steps_and_the_end() -> None:
    taken = film(Wanderer(2), FAMILY, TrialPlan(num_tasks=2, rounds=2), [1], agent_name="a", every=2)
    assert [[shot.step for shot in take.shots] for take in taken.takes[0]] == [[0, 2, 3]] * 2
    assert taken.times == [0, 2, 3]
    first, last = (taken.takes[0][0].shots[i].picture for i in (0, -1))
    assert first.shape == last.shape and (first != last).any()


def test_each_panel_shows_its_own_task_and_moment(taken: Film) -> None:
    drawn = {shot.packed for row in taken.takes for take in row for shot in take.shots if shot.step == 0}
    assert len(drawn) == 2  # the start is the same in every round, and another in the other task
    assert len({take.shots[-1].packed for take in taken.takes[0]}) == 3


def test_an_episode_that_ends_early_freezes_and_says_so() -> None:
    taken = film(solves_after_round(1), Numbered(), TrialPlan(num_tasks=1, rounds=2), [0], agent_name="a")
    waits, solved = taken.takes[0]
    assert (waits.ending, waits.length, waits.success) == ("", 7, False)
    assert (solved.ending, solved.length, solved.success, solved.total) == ("terminated", 1, True, 1.0)
    assert [shot.step for shot in solved.shots] == [0, 1]
    assert solved.shot(6) is solved.shots[-1] and waits.shot(6).step == 6
    sheet = Sheet(taken, 200)
    (x, y), before, after = sheet.corners[0, 1], sheet.frame(0), sheet.frame(5)
    orange = np.array([0xD5, 0x5E, 0x00])
    assert (after[y, x : x + 200] == orange).all() and not (before[y, x : x + 200] == orange).all()
    left = sheet.corners[0, 0][0]
    assert not (after[y, left : left + 200] == orange).all()
    np.testing.assert_array_equal(after[:, x:], sheet.frame(7)[:, x:])


def test_captions_say_task_round_and_returns(taken: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL.ImageDraw import ImageDraw

    texts: list[str] = []
    write = ImageDraw.text

    def listening(self: ImageDraw, xy: Any, text: str, **keywords: Any) -> None:
        texts.append(text)
        write(self, xy, text, **keywords)

    monkeypatch.setattr(ImageDraw, "text", listening)
    sheet = Sheet(taken, 320)
    x, y = taken.tasks[1]["goal"]
    assert texts[0] == "wanderer on navigation-2d, test tasks, seed 4"
    assert f"task 3: goal {x:.3g}, {y:.3g}" in texts[5] and texts[5].endswith(FAMILY.parameters["goal"].unit)
    assert texts[2:5] == ["round 1: new to the task", "round 2: after 2 episodes", "round 3: after 4 episodes"]
    texts.clear()
    sheet.frame(2)
    take = taken.takes[0][0]
    number = lambda value: f"{value:.{sheet.decimals}f}"
    assert texts[0] == f"step 2: return so far {number(take.running[2])}"
    assert texts[1].startswith(f"whole episode {number(take.total)}, mean of 2 {number(take.mean_return)}")
    texts.clear()
    ended = Sheet(film(constant(1), Numbered(), TrialPlan(num_tasks=1, rounds=1), [0], agent_name="a"), 320)
    ended.frame(3)
    assert texts[-2:] == ["ended at step 1: terminated", "whole episode 1.000, success"]


def test_long_captions_stay_within_their_panel() -> None:
    text = "whole episode -1,234.567, mean of 20 -1,234.567, success"
    assert video._font(13).getlength(text) > 320 >= video._fit(text, 320).getlength(text) > 280
    for line in video._wrap("chances " * 40, video._font(13), 320):
        assert video._font(13).getlength(line) <= 320


def test_mp4_holds_every_frame_and_the_last_for_two_seconds(taken: Film, tmp_path: Path) -> None:
    if not has_ffmpeg():
        pytest.skip("no ffmpeg")
    import imageio_ffmpeg

    path, sheet = tmp_path / "a.mp4", Sheet(taken, 161)
    write_video(taken, path, fps=5, size=161)
    # Not by imageio's reader, which leaves its pipes open.
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read = subprocess.run(words, capture_output=True, check=True)
    frames = np.frombuffer(read.stdout, np.uint8).reshape(-1, *sheet.frame(0).shape)
    assert len(frames) == len(taken.times) + 10 and b" 5 fps" in read.stderr
    for frame, time in zip(frames, taken.times, strict=False):
        assert abs(frame.astype(int) - sheet.frame(time)).mean() < 4


def test_gif_needs_no_ffmpeg_and_is_the_same_each_time(
    taken: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    has_ffmpeg.cache_clear()
    try:
        for name in ("a.gif", "b.gif"):
            write_video(taken, tmp_path / name, fps=5)
        with pytest.raises(MetarlError, match=r'pip install "metarl-suite\[video\]", or write a .gif'):
            video_suffix(tmp_path / "a.mp4")
    finally:
        has_ffmpeg.cache_clear()
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as image:
        durations = []
        for i in range(image.n_frames):
            image.seek(i)
            durations.append(image.info["duration"])
    assert len(durations) == 4 and durations[:-1] == [200] * 3 and durations[-1] == 200 * 11


def test_render_writes_a_gif_into_the_run_folder_without_ffmpeg(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert main(["render", str(run), "--quiet", "--tasks", "1", "--among", "2"]) == 0
    told, errors = capsys.readouterr()
    assert errors == ""
    assert told.splitlines()[0] == "playing 2 tasks, filming task 0 in 2 rounds"
    assert told.splitlines()[-1] == f"video: {run / 'adaptation.gif'}"
    with Image.open(run / "adaptation.gif") as image:
        assert image.n_frames == 6
    assert main(["render", str(run), "-o", str(tmp_path / "a.mp4")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "metarl-suite[video]" in line


def test_render_names_the_file_by_agent_and_split(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--task", "1", "--among", "2", "--replicas", "1", "--rounds", "1", "--size", "160"]
    assert main(["render", str(run), *few, "--agent", "random", "--split", "extrapolation"]) == 0
    suffix = ".mp4" if has_ffmpeg() else ".gif"
    assert (run / f"adaptation-random-extrapolation{suffix}").exists()
    assert "filming task 1 in 1 round\n" in capsys.readouterr().out


def _without_checkpoint(run: Path) -> list[str]:
    (run / "best.safetensors").unlink()
    return []


def _with_link(run: Path) -> list[str]:
    for name in ("adaptation.mp4", "adaptation.gif"):
        (run / name).symlink_to(run.parent / "elsewhere")
    return []


MISTAKES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "no checkpoint": (_without_checkpoint, "has no best.safetensors yet"),
    "task outside": (
        lambda run: ["--task", "40"],
        "task 40 is not among the 40 tasks of the evaluation, which are 0 to 39",
    ),
    "more tasks than there are": (lambda run: ["--tasks", "9", "--among", "5"], "only 5 are played"),
    "first and chosen tasks": (lambda run: ["--tasks", "2", "--task", "1"], "leave one out"),
    "another suffix": (lambda run: ["-o", "a.avi"], "a video is written as '.mp4' or '.gif'"),
    "no place": (lambda run: ["-o", "/proc/a.gif"], "cannot be written"),
    "unknown split": (lambda run: ["--split", "tset"], "did you mean 'test'?"),
    "too large": (lambda run: ["-o", "a.gif", "--size", "4096", "--among", "1"], "smaller panels (--size)"),
    "too fast for a GIF": (lambda run: ["-o", "a.gif", "--fps", "51"], "a .gif file shows 1 to 50 pictures a second"),
    "too wide": (lambda run: ["-o", "a.gif", "--size", "4096", "--rounds", "3"], "smaller panels (--size)"),
    "too many tasks": (lambda run: ["-o", "a.gif", "--tasks", "99", "--among", "99"], "fewer tasks (--tasks)"),
    "a link out of the run": (_with_link, "leads out of"),
    "panels too small": (lambda run: ["--size", "3"], "must be at least 160"),
}


def test_a_task_that_is_not_played_is_told_before_anything_is_said_to_be_filmed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(run), "--task", "99"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("every", [0, -1])
def test_pictures_are_at_least_a_step_apart(every: int) -> None:
    with pytest.raises(MetarlError, match=f"every is {every}; it must be at least 1 step"):
        film(Wanderer(1), FAMILY, TrialPlan(num_tasks=1), [0], agent_name="wanderer", every=every)


@pytest.mark.parametrize(
    ("suffix", "num_times", "fps", "size", "told"),
    [
        (".mp4", 10**7 + 1, None, None, "10,000,001 pictures, and the most is 100,000; take more steps"),
        (".gif", 90_000, None, None, "GiB of memory for 90,000 pictures, and the most is 2 GiB; write an .mp4"),
        (".mp4", 100, 0, None, "fps is 0; a .mp4 file shows 1 to 1000"),
        (".mp4", 100, 10**9, None, "fps is 1000000000"),
        (".gif", 100, None, -1, "size is -1; a panel is 16 to 4096 pixels wide"),
    ],
)
def test_a_video_that_could_not_be_written_is_refused_before_the_film_is_taken(
    suffix: str, num_times: int, fps: int | None, size: int | None, told: str
) -> None:
    with pytest.raises(MetarlError, match=re.escape(told)):
        require_room(suffix, num_times, 3, 2, fps=fps, size=size)


def test_a_usual_video_has_room() -> None:
    for suffix in (".mp4", ".gif"):
        require_room(suffix, 101, 3, 2)
        require_room(suffix, 1001, 3, 3, fps=30, size=320)


def test_a_film_beyond_memory_is_refused_at_its_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarl.pictures.film.MOST_BYTES", 1000)
    taken: list[int] = []
    with pytest.raises(MetarlError, match=r"the film would have \d+ pictures, about .* take more steps"):
        film(
            *(Wanderer(2), load("navigation-2d"), TrialPlan(num_tasks=1), [0]),
            agent_name="wanderer",
            report=lambda done, most: taken.append(done),
        )
    assert taken == []


@pytest.mark.parametrize("fps", [0, -1, 51, 10**9])
def test_a_video_of_an_impossible_speed_is_refused(fps: int, taken: Film, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=f"fps is {fps}"):
        write_video(taken, tmp_path / "a.gif", fps=fps)
    assert not list(tmp_path.iterdir())


def test_a_hostile_name_is_written_into_a_video_as_it_is(taken: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, place, text, **style: written.append(text))
    Sheet(replace(taken, agent="\x1b[2J\u202e\udcff\n" + "x" * 5000), 200)
    title = "".join(written[: next(n for n, text in enumerate(written) if text.startswith("task "))])
    assert title.startswith("\\x1b[2J\\u202e\\udcff ") and len(title) < 700


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(
    mistake: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, told = MISTAKES[mistake]
    assert main(["render", str(run), *arguments(run)]) == 2
    error = capsys.readouterr().err
    assert told in error and error.startswith("metarl: error: ") and error.count("\n") == 1
    assert not [path for path in run.glob("adaptation*") if path.exists()]  # a link to nowhere stays one


class Blind(gymnasium.Env[np.ndarray, Any]):
    observation_space = spaces.Box(-1.0, 1.0, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), 0.0, False, False, {}


@dataclass(frozen=True)
class BlindFamily(ClassFamily):
    name: ClassVar[str] = "blind"
    parameters: ClassVar[dict[str, Parameter]] = {"number": Parameter(Uniform(0.0, 1.0))}
    horizon: Horizon = 3

    def make(self, task: dict[str, Any], render_mode: str | None) -> Blind:
        return Blind()


def test_a_family_that_draws_nothing_is_refused() -> None:
    with pytest.raises(MetarlError, match="family 'blind' draws nothing"):
        film(constant(0), BlindFamily(), TrialPlan(num_tasks=1), [0], agent_name="a")


def test_a_machine_that_draws_nothing_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: SimpleNamespace(returncode=1))
    choose_offscreen_backend.cache_clear()
    with pytest.raises(MetarlError, match="no OpenGL backend works here"):
        film(Wanderer(6), load("half-cheetah-velocity", horizon=2), TrialPlan(num_tasks=1), [0], agent_name="a")


def test_a_backend_that_the_user_names_and_that_does_not_draw_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # GLFW is there wherever Gymnasium's MuJoCo is, and draws nothing without a display.
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(display, raising=False)
    choose_offscreen_backend.cache_clear()
    with pytest.raises(MetarlError, match="MUJOCO_GL is 'glfw', which does not work here"):
        choose_offscreen_backend()
    choose_offscreen_backend.cache_clear()


@pytest.fixture
def backend() -> None:
    try:
        choose_offscreen_backend()
    except MetarlError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("backend")
def test_a_body_far_from_the_start_still_runs_on_a_floor() -> None:
    family = load("half-cheetah-velocity", horizon=2)
    with contextlib.closing(
        BatchedEnv(family, family.sample("test", 1, seed=0), threads=0, render_mode="rgb_array")
    ) as envs:
        envs.reset(seed=0)
        envs.batch.state["qpos"][0, 0] = 300.0
        (picture,) = envs.render() or ()
    corner = picture[-40:, :120].astype(int).max(axis=2)
    assert (corner < 60).any() and (corner > 120).any()  # both colours of its squares


@pytest.mark.usefixtures("backend")
def test_a_world_is_drawn_as_before_when_another_environment_is_gone() -> None:
    family = load("half-cheetah-velocity", horizon=2)
    tasks = family.sample("test", 1, seed=0)
    other, envs = (BatchedEnv(family, tasks, threads=0, render_mode="rgb_array") for _ in range(2))
    other.reset(seed=0)
    envs.reset(seed=0)
    other.render()
    before = (envs.render() or ())[0]
    other.close()
    del other
    gc.collect()
    np.testing.assert_array_equal((envs.render() or ())[0], before)
    envs.close()


@pytest.mark.usefixtures("backend")
def test_worlds_of_mujoco_are_drawn_in_turn_and_come_out_the_same_again() -> None:
    family = load("half-cheetah-velocity", horizon=2)
    taken = film(Wanderer(6), family, TrialPlan(num_tasks=2, rounds=2), [0, 1], agent_name="a")
    pictures = [[take.shots[-1].picture for take in row] for row in taken.takes]
    assert all(picture.std() > 10 for row in pictures for picture in row)  # a lost context draws black
    evaluation = evaluate(Wanderer(6), family, num_tasks=2, rounds=2)
    np.testing.assert_array_equal([[take.total for take in row] for row in taken.takes], evaluation.returns)
    again = film(Wanderer(6), family, TrialPlan(num_tasks=2, rounds=2), [0, 1], agent_name="a")
    assert all(
        np.array_equal(take.shots[-1].picture, other)
        for row, others in zip(again.takes, pictures, strict=True)
        for take, other in zip(row, others, strict=True)
    )
