"""The encoder-decoder against torch's own layers, finite differences, and one question alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from metarl.agents.sequences.layers import hide, hide_later
from metarl.agents.sequences.network import EncoderDecoder, SequenceAnswers
from metarl.agents.supervised.answered import Answered
from torch import Tensor, nn
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.checks.questions import Respell, Tell
from metarl.families.family import TaskFamily
from metarl.trials.registered import make_agent
from tests.agents.sequences.small import Parameters, drawn, encoder_decoder

KINDS: list[dict[str, Any]] = [{}, {"embeddings": "tied", "positions": "learned"}, {"copies": True}]
QUESTIONS = torch.tensor([[1, 2, 3], [2, 0, 0], [3, 3, 0], [0, 0, 0]], dtype=torch.float64)
ANSWERS = torch.tensor([[3, 1, 2, 0], [1, 0, 0, 0], [1, 2, 3, 1], [0, 0, 0, 0]])


def asked(questions: Tensor = QUESTIONS, answers: Tensor = ANSWERS) -> Answered:
    """Return a round of one task and one replica."""
    return Answered(
        questions[:, None], questions[:, None, :0], answers[:, None], torch.ones(len(questions), 1).double()
    )


def log_probs(network: EncoderDecoder, parameters: Parameters, questions: Tensor, answers: Tensor) -> Tensor:
    return network.decoder.taught(parameters, network.remember(parameters, questions), answers)


def filled(module: nn.Module, parameters: Parameters, names: dict[str, list[str]]) -> nn.Module:
    """Return a module of torch with our parameters, several of ours in one of its."""
    state = {theirs: torch.cat([parameters[name] for name in ours]) for theirs, ours in names.items()}
    module.double().load_state_dict(state)
    return module.eval()


def layer_names(block: str, reads: bool) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    last = 3 if reads else 2
    for kind in ("weight", "bias"):
        names[f"self_attn.in_proj_{kind}"] = [f"{block}.self-into.{kind}"]
        names[f"self_attn.out_proj.{kind}"] = [f"{block}.self-out.{kind}"]
        names[f"norm1.{kind}"], names[f"norm{last}.{kind}"] = [f"{block}.norm.{kind}"], [f"{block}.wide-norm.{kind}"]
        names[f"linear1.{kind}"], names[f"linear2.{kind}"] = [f"{block}.wide.{kind}"], [f"{block}.narrow.{kind}"]
        if reads:
            read = f"{block}.question"
            names[f"multihead_attn.in_proj_{kind}"] = [f"{read}-{part}.{kind}" for part in ("query", "keys", "values")]
            names[f"multihead_attn.out_proj.{kind}"] = [f"{read}-out.{kind}"]
            names[f"norm2.{kind}"] = [f"{read}-norm.{kind}"]
    return names


def test_log_probabilities_are_those_of_the_layers_of_torch() -> None:
    network = encoder_decoder()
    parameters = drawn(network)
    shape = {"dim_feedforward": 12, "dropout": 0.0, "batch_first": True, "norm_first": True}
    x, there = network.embedding.encode(parameters, network.embedding.source, QUESTIONS.long())
    for block in ("encoder.0", "encoder.1"):
        layer = filled(nn.TransformerEncoderLayer(8, 2, **shape), parameters, layer_names(block, reads=False))
        x = layer(x, src_key_padding_mask=~there)
    x = F.layer_norm(x, (8,), parameters["encoder.norm.weight"], parameters["encoder.norm.bias"])
    begun = torch.cat([torch.full((4, 1), 4), ANSWERS[:, :-1]], dim=1)
    y = parameters["embedding.target"][begun] * 8**0.5 + network.embedding.places(parameters, 4)
    later = nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64)
    for block in ("decoder.0", "decoder.1"):
        layer = filled(nn.TransformerDecoderLayer(8, 2, **shape), parameters, layer_names(block, reads=True))
        y = layer(y, x, tgt_mask=later, memory_key_padding_mask=~there)
    y = F.layer_norm(y, (8,), parameters["decoder.norm.weight"], parameters["decoder.norm.bias"])
    expected = F.linear(y, parameters["outputs.weight"], parameters["outputs.bias"]).log_softmax(-1)
    torch.testing.assert_close(log_probs(network, parameters, QUESTIONS, ANSWERS), expected)


def test_what_is_copied_is_the_token_behind_the_place_that_is_attended_to() -> None:
    network = encoder_decoder(copies=True)
    parameters = drawn(network)
    memory = network.remember(parameters, QUESTIONS[:1])
    (copied,) = memory.copied
    x = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wide_open = parameters | {"copy.gate.bias": torch.full((1,), 1e3).double()}
    found = network.decoder._log_probs(wide_open, memory, x).exp()[0]
    asked = x[0] @ parameters["copy.query.weight"].T + parameters["copy.query.bias"]
    weights = (asked @ copied.keys[0].T * 8**-0.5).softmax(-1)
    expected = torch.zeros_like(found)
    # The question is 1 2 3: places are the beginning, 1, 2 and 3.
    for place, token in enumerate([1, 2, 3, 0]):
        expected[:, token] += weights[:, place]
    torch.testing.assert_close(found, expected)


def test_a_network_that_learned_nothing_copies_a_question_in_its_order() -> None:
    network = encoder_decoder(copies=True, embeddings="tied", width=64)
    generator = torch.Generator().manual_seed(0)
    parameters = network.initial_parameters(generator, dtype=torch.float64, device="cpu")
    parameters["copy.gate.bias"] = torch.full((1,), 1e3).double()
    questions = torch.tensor([[3, 1, 2], [2, 3, 1], [1, 3, 2]])
    answers = torch.nn.functional.pad(questions, (0, 1))
    chosen = log_probs(network, parameters, questions.double(), answers).argmax(-1)
    assert (chosen == answers).double().mean() > 0.8


def test_copying_adds_the_share_of_the_question_to_each_token() -> None:
    network = encoder_decoder(copies=True)
    parameters = drawn(network)
    found = log_probs(network, parameters, QUESTIONS, ANSWERS).exp()
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]))
    wide_open = parameters | {"copy.gate.bias": torch.full((1,), 1e3).double()}
    copied = log_probs(network, wide_open, QUESTIONS, ANSWERS).exp()
    # Question 1 is the token 2 and its end, question 2 twice the token 3, and question 0 has all tokens.
    torch.testing.assert_close(copied[1, :, [0, 2]].sum(-1), torch.ones(4).double())
    assert copied[1, :, 2].min() > 1e-3 and copied[2, :, 1].max() < 1e-6 and copied[0].min() > 1e-4
    shut = parameters | {"copy.gate.bias": torch.full((1,), -1e3).double()}
    without = encoder_decoder()
    torch.testing.assert_close(
        log_probs(network, shut, QUESTIONS, ANSWERS), log_probs(without, shut, QUESTIONS, ANSWERS)
    )
    # The empty question has nothing to copy.
    torch.testing.assert_close(copied[3], log_probs(without, shut, QUESTIONS, ANSWERS)[3].exp())


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_step_by_step_with_a_cache_is_what_teaching_computes_at_once(settings: dict[str, Any]) -> None:
    network = encoder_decoder(**settings)
    parameters = drawn(network)
    memory, cache, before = network.remember(parameters, QUESTIONS), {}, network.decoder.begin(QUESTIONS.long())
    found = []
    for place in range(4):
        step, cache = network.decoder.step(parameters, memory, cache, before, place)
        found.append(step)
        before = ANSWERS[:, place]
    torch.testing.assert_close(torch.stack(found, dim=1), log_probs(network, parameters, QUESTIONS, ANSWERS))


@pytest.mark.parametrize("settings", [*KINDS, {"label_smoothing": 0.2}], ids=str)
def test_gradients_and_second_derivatives_are_finite_differences(settings: dict[str, Any]) -> None:
    network, head = encoder_decoder(**settings), SequenceAnswers(Respell())
    parameters = drawn(network)
    generator = torch.Generator().manual_seed(1)
    way = {name: torch.randn(value.shape, generator=generator).double() for name, value in parameters.items()}
    data = asked()

    def loss(at: Parameters) -> Tensor:
        return head.mean_loss(network.taught(at, data), data.targets, data.mask)

    def slope(at: Parameters) -> Tensor:
        gradient = torch.func.grad(loss)(at)
        return torch.stack([(gradient[name] * way[name]).sum() for name in way]).sum()

    def moved(by: float) -> Parameters:
        return {name: value + by * way[name] for name, value in parameters.items()}

    curve = torch.func.grad(slope)(parameters)
    bend = torch.stack([(curve[name] * way[name]).sum() for name in way]).sum()
    step = 1e-5
    torch.testing.assert_close(
        slope(parameters), (loss(moved(step)) - loss(moved(-step))) / (2 * step), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(bend, (slope(moved(step)) - slope(moved(-step))) / (2 * step), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_question_alone_has_the_answer_that_it_has_among_longer_ones(settings: dict[str, Any]) -> None:
    network = encoder_decoder(**settings)
    parameters = drawn(network)
    together = log_probs(network, parameters, QUESTIONS, ANSWERS)
    for row, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        length = max(1, int((question != 0).sum()))
        alone = log_probs(network, parameters, question[None, :length], answer[None])
        torch.testing.assert_close(alone[0], together[row], rtol=1e-12, atol=1e-12)


def test_what_stands_behind_the_first_zero_changes_nothing() -> None:
    network, head = encoder_decoder(), SequenceAnswers(Respell())
    parameters, data = drawn(network), asked()
    dirty = asked(torch.tensor([[1, 2, 3], [2, 0, 3], [3, 3, 0], [0, 1, 2]]).double(), ANSWERS.clone())
    dirty.targets[1, 0, 2:] = 3
    outputs, others = network.taught(parameters, data), network.taught(parameters, dirty)
    clean, same = (head.mean_loss(each, d.targets, d.mask) for each, d in ((outputs, data), (others, dirty)))
    torch.testing.assert_close(clean, same, rtol=0, atol=0)
    assert (head.best(outputs) == head.best(others)).all()


def test_a_hidden_place_has_a_weight_of_exactly_zero() -> None:
    scores = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    weights = (scores + hide_later(3, scores.device)).softmax(-1)
    assert (weights.triu(1) == 0).all()
    assert ((scores + hide(torch.tensor([True, False, True]))).softmax(-1)[:, 1] == 0).all()


def test_the_loss_is_a_mean_over_tokens_up_to_the_first_zero() -> None:
    network, head = encoder_decoder(), SequenceAnswers(Respell())
    parameters, data = drawn(network), asked()
    data.mask[1] = 0
    all_probs = log_probs(network, parameters, QUESTIONS, ANSWERS)
    picked = [
        -float(all_probs[row, place, token])
        for row, answer in ((0, (3, 1, 2, 0)), (2, (1, 2, 3, 1)), (3, (0,)))
        for place, token in enumerate(answer)
    ]
    found = head.mean_loss(network.taught(parameters, data), data.targets, data.mask)
    assert float(found) == pytest.approx(sum(picked) / len(picked), rel=1e-12)


def test_a_round_is_cut_to_its_longest_question_and_answer_at_no_change() -> None:
    network, head = encoder_decoder(), SequenceAnswers(Respell())
    parameters, rows = drawn(network), asked(QUESTIONS[1:2], ANSWERS[1:2])
    whole = Answered.of(*(each[None] for each in rows.tensors))
    cut = network.cut(whole)
    assert cut.observations.shape == (1, 1, 1, 1) and cut.targets.shape == (1, 1, 1, 2)
    small, large = (network.taught(parameters, each) for each in (cut, whole))
    assert (head.best(small) == head.best(large)).all()
    torch.testing.assert_close(
        head.mean_loss(small, cut.targets, cut.mask), head.mean_loss(large, whole.targets, whole.mask)
    )


@pytest.mark.parametrize(
    ("settings", "family", "message"),
    [
        ({"network": "encoder-decoder"}, Tell(), "has questions of Box.*take a family of kind Tokens"),
        ({"network": "encoder-decoder", "hidden_sizes": [8]}, Respell(), "hidden_sizes is set, and network"),
        ({"network": {"name": "encoder-decoder", "width": 10}}, Respell(), "width is 10, which 4 heads cannot share"),
        ({"network": "encoder-decoder", "adapts": "context"}, Respell(), "take adapts: all without bias_size"),
        ({"network": "encoder-decoder", "adapts": {"bias_size": 3}}, Respell(), "take adapts: all without bias_size"),
        ({"decoding": {"beam_size": 2}}, Respell(), "decoding is set, and network 'layers' has none"),
    ],
)
def test_settings_that_do_not_compose_get_one_line(settings: dict[str, Any], family: TaskFamily, message: str) -> None:
    with pytest.raises(MetarlError, match=message) as caught:
        make_agent("maml", family, settings, device="cpu")
    assert "\n" not in str(caught.value)
