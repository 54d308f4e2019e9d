"""Gradient-based adaptation written again as plainly as it can be: loops over tasks, episodes and steps, and autograd.

It shares no code with the agents. Tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from metarl.agents.maml.agent import MAML
from metarl.agents.maml.records import Round
from torch import Tensor


def policy_parameters(agent: MAML, meta: Mapping[str, Tensor], fast: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name in meta if name.startswith("layers.") or name in ("log_std", "context.weight", "context")]
    if agent.config.adapts.name == "latent":
        return {name: meta[name] + meta[f"latent.decoder.{name}"] @ fast["latent.start"] for name in names}
    return {**{name: meta[name] for name in names}, **fast}


def start(agent: MAML, meta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    layers = sorted({name.split(".")[1] for name in meta if name.startswith("layers.")}, key=int)
    match agent.config.adapts.name:
        case "all":
            others = ("log_std", "context", "context.weight")
            return {name: v for name, v in meta.items() if name.startswith("layers.") or name in others}
        case "last-layer":
            last = layers[-agent.config.adapts.count :]
            return {name: meta[name] for layer in last for name in (f"layers.{layer}.weight", f"layers.{layer}.bias")}
        case "context":
            zeros = torch.zeros(agent.config.adapts.size, dtype=meta["layers.0.bias"].dtype)
            return {"context": zeros.requires_grad_(True)}
        case "latent":
            return {"latent.start": meta["latent.start"]}
    return {}


def step_log_prob(parameters: Mapping[str, Tensor], observation: Tensor, action: Tensor, half: float) -> Tensor:
    """Return the log-probability of one action: summed over its dimensions if it is a vector, else of one of n."""
    x = observation
    layers = sorted({name.split(".")[1] for name in parameters if name.startswith("layers.")}, key=int)
    for layer in layers:
        weight, bias = parameters[f"layers.{layer}.weight"], parameters[f"layers.{layer}.bias"]
        if layer == "0" and "context" in parameters:
            weight = torch.cat([weight, parameters["context.weight"]], dim=1)
            x = torch.cat([x, parameters["context"]])
        x = weight @ x + bias
        if layer != layers[-1]:
            x = torch.tanh(x)
    if not action.dtype.is_floating_point:
        return torch.log(torch.exp(x[action]) / torch.exp(x).sum())
    total = torch.zeros((), dtype=x.dtype)
    for i in range(len(x)):
        std = torch.exp(parameters["log_std"][i])
        z = (action[i] / half - x[i]) / std
        total = total - z**2 / 2 - torch.log(std) - math.log(2 * math.pi) / 2
    return total


def inner_loss(agent: MAML, parameters: Mapping[str, Tensor], data: Round, half: float) -> Tensor:
    """Return the inner loss of one task's round, [time, replica, ...], one step after the other."""
    horizon, replicas = data.mask.shape
    total, count = torch.zeros((), dtype=data.advantages.dtype), 0
    for replica in range(replicas):
        box = torch.ones((), dtype=data.advantages.dtype)
        for t in range(horizon):
            if not data.mask[t, replica]:
                continue
            log_prob = step_log_prob(parameters, data.observations[t, replica], data.actions[t, replica], half)
            ratio = torch.exp(log_prob) / torch.exp(data.old_log_prob[t, replica])
            advantage = data.advantages[t, replica]
            match agent.config.inner_objective:
                case "likelihood-ratio":
                    total = total + ratio * advantage
                case "dice":
                    total = total + (box * ratio - box) * advantage
                    box = box * ratio
                case "policy-gradient":
                    total = total + log_prob * advantage
            count += 1
    return -total / count


def inner_step(
    agent: MAML, meta: Mapping[str, Tensor], fast: Mapping[str, Tensor], data: Round, half: float
) -> dict[str, Tensor]:
    loss = inner_loss(agent, policy_parameters(agent, meta, fast), data, half)
    gradients = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
    second_order = agent.config.outer.meta_gradient == "second-order"
    moved = {}
    for (name, value), gradient in zip(fast.items(), gradients, strict=True):
        rate = agent.config.inner_lr if agent.config.outer.inner_lr_kind == "fixed" else meta[f"inner_lr.{name}"]
        moved[name] = value - rate * (gradient if second_order else gradient.detach())
    return moved


def outer_loss(agent: MAML, meta: Mapping[str, Tensor], rounds: tuple[Round, ...], half: float) -> Tensor:
    """Return one task's clipped surrogate after adaptation, without penalty, of the last round or the mean over all."""
    fast = start(agent, meta)
    losses = []
    for number, data in enumerate(rounds):
        if agent.config.outer.rounds == "all" or number == len(rounds) - 1:
            losses.append(surrogate(agent, policy_parameters(agent, meta, fast), data, half))
        if number < len(rounds) - 1:
            fast = inner_step(agent, meta, fast, data, half)
    return torch.stack(losses).mean()


def surrogate(agent: MAML, parameters: Mapping[str, Tensor], data: Round, half: float) -> Tensor:
    total, count, clip = torch.zeros((), dtype=data.advantages.dtype), 0, agent.config.outer.clip_range
    for replica in range(data.mask.shape[1]):
        for t in range(data.mask.shape[0]):
            if not data.mask[t, replica]:
                continue
            log_prob = step_log_prob(parameters, data.observations[t, replica], data.actions[t, replica], half)
            ratio = torch.exp(log_prob - data.old_log_prob[t, replica])
            advantage = data.advantages[t, replica]
            kept = ratio if 1 - clip < ratio < 1 + clip else ratio.detach().clamp(1 - clip, 1 + clip)
            total = total + (ratio * advantage if ratio * advantage < kept * advantage else kept * advantage)
            count += 1
    return -total / count
