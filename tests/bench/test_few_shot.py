"""The benchmark of few-shot learning: its plain scripts learn what they say, and ours is whole training."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch

from metarl.base.errors import MetarlError
from metarl.bench import few_shot, plain_boxes, plain_sequences
from metarl.bench import plain_few_shot as plain
from metarl.bench.simulation import Comparison
from metarl.cli.main import main
from metarl.families.family import TaskFamily
from metarl.runs.config import TrainConfig, make_family


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
    step = plain.steps(lambda: plain.prototypes_gradient(parameters, data), list(parameters.values()))
    before = float(plain.prototypes_loss(parameters, data).detach())
    for number in range(20):
        step(number)
    assert float(plain.prototypes_loss(parameters, data).detach()) < before


def learned(training: few_shot._Training) -> dict[str, torch.Tensor]:
    parameters: dict[str, torch.Tensor] = training.agent.parameters  # type: ignore[attr-defined]
    return {name: value.detach() for name, value in parameters.items()}


def load_transformer(model: plain_sequences.Transformer, ours: dict[str, torch.Tensor]) -> None:
    """Give the plain network the parameters of ours, by torch.nn's names."""
    with torch.no_grad():
        model.embedding.weight.copy_(ours["embedding.both"])
        model.bias.copy_(ours["outputs.bias"])
        named = {"copy.query": model.query, "copy.gate": model.gate}
        named |= {f"{each}.norm": getattr(model, each).norm for each in ("encoder", "decoder")}
        joint = {}
        for stack in ("encoder", "decoder"):
            for number, layer in enumerate(getattr(model, stack).layers):
                block, last = f"{stack}.{number}", layer.norm2 if stack == "encoder" else layer.norm3
                named |= {f"{block}.norm": layer.norm1, f"{block}.wide-norm": last}
                named |= {f"{block}.wide": layer.linear1, f"{block}.narrow": layer.linear2}
                named |= {f"{block}.self-out": layer.self_attn.out_proj}
                joint |= {(f"{block}.self-into",): layer.self_attn}
                if stack == "decoder":
                    read = f"{block}.question"
                    named |= {f"{read}-norm": layer.norm2, f"{read}-out": layer.multihead_attn.out_proj}
                    joint |= {tuple(f"{read}-{part}" for part in ("query", "keys", "values")): layer.multihead_attn}
        for name, module in named.items():
            for kind in ("weight", "bias"):
                getattr(module, kind).copy_(ours[f"{name}.{kind}"])
        for names, module in joint.items():
            for kind in ("weight", "bias"):
                rows = torch.cat([ours[f"{name}.{kind}"] for name in names])
                getattr(module, f"in_proj_{kind}").copy_(rows)


def test_the_script_of_phrases_has_our_network_inner_steps_and_loss() -> None:
    training = few_shot._Training("maml, phrases", io.StringIO(), meta_batch_size=2)
    ours, trial = learned(training), training.trial(0)
    model = plain_sequences.Transformer(vocabulary=len(ours["outputs.bias"]))
    load_transformer(model, {name: value.clone() for name, value in ours.items()})
    assert sum(value.numel() for value in model.parameters()) == sum(value.numel() for value in ours.values())
    theirs = plain_sequences.maml_gradient(model, few_shot.ready_pairs(training))
    found = training.agent.update(trial, np.random.default_rng(0))
    assert found["loss"] == pytest.approx(theirs, rel=1e-3) and found["loss"] != found["loss_before"]


def test_the_script_of_boxes_has_our_network_and_loss() -> None:
    training = few_shot._Training("prototypes, boxes", io.StringIO(), meta_batch_size=2)
    ours, trial, model = learned(training), training.trial(0), plain_boxes.Detector()
    with torch.no_grad():
        for number, layer in enumerate(each for each in model.convolutions if isinstance(each, torch.nn.Conv2d)):
            layer.weight.copy_(ours[f"image0-cells{number}-weight"])
            assert layer.bias is not None
            layer.bias.copy_(ours[f"image0-cells{number}-bias"])
        model.numbers.weight.copy_(ours["boxes"])
        model.numbers.bias.copy_(ours["boxes_bias"])
        model.log_scale.copy_(ours["log_scale"])
        model.bias.copy_(ours["logit_bias"][0])
    assert sum(value.numel() for value in model.parameters()) == sum(value.numel() for value in ours.values())
    theirs = float(plain_boxes.loss(model, few_shot.ready_boxes(training)).detach())
    assert training.agent.update(trial, np.random.default_rng(0))["loss"] == pytest.approx(theirs, rel=1e-4)


def test_tokens_are_counted_with_the_ends_of_answers() -> None:
    pairs = plain_sequences.Pairs(torch.tensor([[[3, 4, 0], [5, 0, 0]]]), torch.tensor([[[7, 0], [8, 9]]]))
    assert plain_sequences.Ready(pairs, pairs).num_tokens == 2 * (3 + 3 + 2)


def test_what_is_not_installed_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def installed(config: TrainConfig) -> TaskFamily:
        if config.family["name"] == "phrases":
            raise MetarlError("phrases 'names' needs package 'babel'")
        return make_family(config)

    monkeypatch.setattr(few_shot, "make_family", installed)
    rows = list(few_shot._rows(1, io.StringIO()))
    assert [row.training.name for row in rows] == ["prototypes", "maml", "maml", "prototypes, boxes"]
    assert "phrases was left out: phrases 'names' needs package 'babel'\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["prototypes", "maml"])
def test_ours_is_an_update_of_new_tasks_with_a_line_of_metrics(name: str) -> None:
    log = io.StringIO()
    training = few_shot._Training(name, log, meta_batch_size=2)
    before = {key: value.clone() for key, value in training.agent.state_dict().items()}
    training(0)
    training(0)
    lines = list(map(json.loads, log.getvalue().splitlines()))
    assert [line["update"] for line in lines] == [0, 1] and lines[0]["loss"] != lines[1]["loss"]
    assert any(not torch.equal(value, training.agent.state_dict()[key]) for key, value in before.items())
    parameters = learned(training)
    shapes = [tuple(value.shape[:2]) for key, value in parameters.items() if "block" in key and value.dim() == 4]
    assert shapes == [(64, 1), (64, 64), (64, 64), (64, 64)]


def test_the_command_prints_each_ratio_with_its_goal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Comparison("tasks", "maml", "plain loop over tasks", 8, (90.0, 60.0), (20.0, 30.0), 3.0)]
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
