"""The benchmark of few-shot learning: its plain scripts learn what they say, and ours is whole training."""

from __future__ import annotations

import io
import json

import pytest
import torch

from metarl.bench import few_shot
from metarl.bench import plain_few_shot as plain
from metarl.bench.simulation import Comparison
from metarl.cli.main import main


def gradients(parameters: plain.Parameters) -> dict[str, torch.Tensor]:
    found = {}
    for name, value in parameters.items():
        assert value.grad is not None
        found[name] = value.grad.clone()
        value.grad = None
    return found


def test_the_loop_over_tasks_has_the_gradient_of_the_vmapped_script() -> None:
    data = plain.ready(2)
    parameters = {name: value.detach().double().requires_grad_(True) for name, value in plain.classifier().items()}
    data = plain.Ready(data.support.double(), data.labels, data.queries.double(), data.asked)
    found = []
    for script in (plain.maml_gradient, plain.looped_maml_gradient):
        script(parameters, data)
        found.append(gradients(parameters))
    torch.testing.assert_close(*found)


def test_prototypes_are_the_means_of_their_classes() -> None:
    data, parameters = plain.ready(2), plain.convolutions()
    losses = []
    for task in range(2):
        points = plain.features(parameters, data.support[task])
        means = torch.stack([points[data.labels[task] == label].mean(0) for label in range(plain.WAYS)])
        for query, label in zip(plain.features(parameters, data.queries[task]), data.asked[task], strict=True):
            logits = -(query - means).square().sum(1) / plain.FEATURES
            losses.append(torch.logsumexp(logits, 0) - logits[label])
    torch.testing.assert_close(
        plain.prototypes_loss(parameters, data), torch.stack(losses).mean(), rtol=1e-4, atol=1e-5
    )


def test_steps_lower_the_loss() -> None:
    data, parameters = plain.ready(1), plain.convolutions()
    step = plain.steps(plain.prototypes_gradient, parameters, data)
    before = float(plain.prototypes_loss(parameters, data).detach())
    for number in range(20):
        step(number)
    assert float(plain.prototypes_loss(parameters, data).detach()) < before


@pytest.mark.parametrize("name", few_shot.AGENTS)
def test_ours_is_an_update_of_new_tasks_with_a_line_of_metrics(name: str) -> None:
    log = io.StringIO()
    training = few_shot._Training(name, 2, log)
    before = {key: value.clone() for key, value in training.agent.state_dict().items()}
    training(0)
    training(0)
    lines = list(map(json.loads, log.getvalue().splitlines()))
    assert [line["update"] for line in lines] == [0, 1] and lines[0]["loss"] != lines[1]["loss"]
    assert any(not torch.equal(value, training.agent.state_dict()[key]) for key, value in before.items())
    parameters: dict[str, torch.Tensor] = training.agent.parameters  # type: ignore[attr-defined]
    shapes = [tuple(value.shape[:2]) for key, value in parameters.items() if "block" in key and value.dim() == 4]
    assert shapes == [(64, 1), (64, 64), (64, 64), (64, 64)]


def test_the_command_prints_each_ratio_with_its_goal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Comparison("few-shot", "maml", "plain loop over tasks", 8, (90.0, 60.0), (20.0, 30.0), 3.0)]
    asked = []
    monkeypatch.setattr(few_shot, "bench_few_shot", lambda report, **how: asked.append(how) or rows)
    assert main(["bench", "few-shot", "--tasks", "8", "--seconds", "0.5", "--repeats", "2", "--quiet"]) == 0
    assert asked == [{"tasks": 8, "seconds": 0.5, "repeats": 2}]
    told = capsys.readouterr().out
    assert "maml" in told.splitlines()[-1] and told.splitlines()[-1].split()[-4:] == [
        "3.25",
        "2.00-4.50",
        "3.00",
        "met",
    ]
