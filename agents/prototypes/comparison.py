"""Classes of questions by comparison with examples: pure functions of embeddings."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Distance = Literal["euclidean", "cosine"]
"""Squared Euclidean distance, or cosine similarity times a learned scale."""

UNKNOWN = 10.0
"""Logits that a class without an example lies below the least of the others."""


def compare(queries: Tensor, examples: Tensor, distance: Distance, scale: Tensor) -> Tensor:
    """Return the likeness [task, query, example] of queries [task, query, d] and examples [task, example, d].

    Euclidean: -scale |f - c|^2 = scale (2 c.f - |c|^2 - |f|^2). The last term is the same for all classes, so the
    classifier is linear in f, with weights 2 c and bias -|c|^2 (Snell et al., NeurIPS 2017, section 2.4).
    """
    if distance == "cosine":
        queries, examples = F.normalize(queries, dim=-1), F.normalize(examples, dim=-1)
        return scale * queries @ examples.transpose(1, 2)
    product = queries @ examples.transpose(1, 2)
    squares = examples.square().sum(-1)[:, None] + queries.square().sum(-1)[..., None]
    return scale * (2 * product - squares)


def prototype_logits(queries: Tensor, examples: Tensor, labels: Tensor, distance: Distance, scale: Tensor) -> Tensor:
    """Return logits [task, query, class] by the distance to the mean example of each class (Snell et al., 2017).

    `labels` [task, example, class] are one-hot, zero for an example that does not count. A class without an example
    lies below all others.
    """
    counts = labels.sum(1)
    prototypes = labels.transpose(1, 2) @ examples / counts.clamp(min=1)[..., None]
    return _without_unknown(compare(queries, prototypes, distance, scale), counts[:, None] > 0)


def matching_logits(queries: Tensor, examples: Tensor, labels: Tensor, distance: Distance, scale: Tensor) -> Tensor:
    """Return log-probabilities [task, query, class]: labels of examples, weighed by a softmax of their likeness.

    Vinyals et al., Matching Networks, NeurIPS 2016, equation 1, without full context embeddings.
    """
    counted = labels.sum(-1)[:, None] > 0
    likeness = compare(queries, examples, distance, scale).masked_fill(~counted, -torch.inf)
    known = labels.sum(1)[:, None] > 0
    # The logarithm of the summed weights of each class; of one without an example, any finite number.
    weights = likeness.log_softmax(-1)[..., None] + labels[:, None].clamp(min=1e-30).log()
    return _without_unknown(weights.logsumexp(2), known)


def _without_unknown(logits: Tensor, known: Tensor) -> Tensor:
    """Return logits with those of unknown classes below the least of the known ones; zeros where none is known."""
    known = known.expand_as(logits)
    least = torch.where(known, logits, torch.inf).amin(-1, keepdim=True)
    least = torch.where(least.isfinite(), least, 0.0).detach()
    return torch.where(known, logits, least - UNKNOWN)
