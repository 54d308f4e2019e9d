"""Returns, advantages and the linear baseline: pure functions of arrays whose first axis is time."""

from __future__ import annotations

import numpy as np

from .over_ranks import moments_of_all


def suffix_sums(terms: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return y with y_t = terms_t + factors_t y_{t+1}, [time, ...]; the last is its own term.

    By doubling (Hillis and Steele, 1986): log2(time) passes over whole arrays instead of one step a time.
    """
    sums, reach = terms.astype(np.float64), np.array(factors, dtype=np.float64)
    shift = 1
    while shift < len(sums):
        # Sums now run over `shift` terms, and `reach` is the product of as many factors.
        sums[:-shift] += reach[:-shift] * sums[shift:]
        reach[:-shift] *= reach[shift:]
        shift *= 2
    return sums


def _with_end(steps: np.ndarray, end: np.ndarray) -> np.ndarray:
    return np.concatenate([steps, np.broadcast_to(np.asarray(end, dtype=np.float64), steps.shape[1:])[None]])


def discounted_returns(rewards: np.ndarray, mask: np.ndarray, discount: float, bootstrap: np.ndarray) -> np.ndarray:
    """Return G_t = r_t + discount G_{t+1}, [time, ...], over the steps that `mask` marks.

    `bootstrap` [...] is the value of what follows an episode's last step: zero where it terminated.
    """
    factors = np.where(mask, discount, 1.0)
    return suffix_sums(_with_end(rewards * mask, bootstrap), _with_end(factors, np.zeros(())))[:-1] * mask


def generalized_advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    bootstrap: np.ndarray,
    *,
    discount: float,
    gae_lambda: float,
) -> np.ndarray:
    """Return generalized advantage estimates (Schulman et al., 2016), [time, ...], zero where no step was taken.

    A_t = sum_k (discount gae_lambda)^k delta_{t+k}, delta_t = r_t + discount V_{t+1} - V_t, where t+1 is the next step
    taken: steps outside `mask` are skipped, so that a trial whose episodes ended early is one unbroken sequence.
    `bootstrap` [...] is the value of what follows the last step: the value of the true final observation where the
    sequence was truncated, zero where it terminated. It is not the value of any observation in the sequence.
    """
    # The value of the step itself, or of the next one that was taken.
    nearest = suffix_sums(_with_end(values * mask, bootstrap), _with_end(np.where(mask, 0.0, 1.0), np.zeros(())))
    deltas = (rewards + discount * nearest[1:] - values) * mask
    return suffix_sums(deltas, np.where(mask, discount * gae_lambda, 1.0)) * mask


def normalize_advantages(values: np.ndarray, mask: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    """Return `values` shifted and scaled to mean 0 and standard deviation 1 over `axis`, counting only `mask`."""
    count = np.maximum(mask.sum(axis=axis, keepdims=True), 1)
    mean = (values * mask).sum(axis=axis, keepdims=True) / count
    centred = (values - mean) * mask
    std = np.sqrt(np.square(centred).sum(axis=axis, keepdims=True) / count)
    return centred / (std + 1e-8)


def baseline_features(observations: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return the features of the linear baseline of Duan et al. (2016), [..., 2 d + 4].

    Observations [..., d] clipped to +-10 and their squares; t, t^2, t^3 for `time` [...] in hundreds of steps; and one.
    """
    clipped = np.clip(observations.astype(np.float64), -10.0, 10.0)
    t = np.broadcast_to(time / 100.0, observations.shape[:-1])[..., None]
    return np.concatenate([clipped, clipped**2, t, t**2, t**3, np.ones_like(t)], axis=-1)


def linear_baseline(
    observations: np.ndarray,
    final_observations: np.ndarray,
    returns: np.ndarray,
    mask: np.ndarray,
    *,
    ridge: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a linear baseline to each task's own returns; return its values [time, task, replica] and [task, replica].

    The second are the values of `final_observations` [task, replica, d], to bootstrap from where an episode was cut
    off. `observations` is [time, task, replica, d], `returns` and `mask` [time, task, replica]. The ridge penalty is
    relative to the number of steps, and only as large as singular features (a constant observation) need.
    """
    time, tasks, replicas = mask.shape
    features = baseline_features(observations, np.arange(time).reshape(-1, 1, 1))
    rows = np.moveaxis(features, 1, 0).reshape(tasks, time * replicas, -1)
    weight = np.moveaxis(mask, 1, 0).reshape(tasks, -1, 1)
    target = np.moveaxis(returns, 1, 0).reshape(tasks, -1, 1)
    kept = (rows * weight).transpose(0, 2, 1)
    penalty = ridge * weight.sum(axis=1, keepdims=True) * np.eye(rows.shape[-1])
    coefficients = np.linalg.solve(kept @ rows + penalty, kept @ target)
    values = np.moveaxis((rows @ coefficients).reshape(tasks, time, replicas), 0, 1) * mask
    final = baseline_features(final_observations, mask.sum(axis=0)) @ coefficients
    return values, final[..., 0]


def explained_variance(values: np.ndarray, returns: np.ndarray, mask: np.ndarray) -> float:
    """Return 1 - Var(returns - values) / Var(returns) over the marked steps; 0 where the returns do not vary.

    The steps are those of all processes that train together.
    """
    chosen = returns[mask]
    variance = float(moments_of_all(chosen).variance)
    return 0.0 if variance == 0.0 else 1.0 - float(moments_of_all(chosen - values[mask]).variance) / variance
