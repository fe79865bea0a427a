"""Exercises of lesson 14: three instruments, and the nine cases to be diagnosed."""

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 14.1 a smooth curve --------------------------------------------------------------------------------------------


def smooth(losses, beta):
    mean, found = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = beta * mean + (1 - beta) * loss
        found.append(mean / (1 - beta**step))
    return found


def smooth_by_weights(losses, beta):
    weights = [beta ** np.arange(step)[::-1] for step in range(1, len(losses) + 1)]
    return [np.average(losses[: len(each)], weights=each) for each in weights]


def smooth_by_sums(losses, beta):
    total = weight = 0.0
    found = []
    for loss in losses:
        total, weight = beta * total + loss, beta * weight + 1
        found.append(total / weight)
    return np.array(found)


def follow(losses, beta, start):
    found = []
    for loss in losses:
        start = beta * start + (1 - beta) * loss
        found.append(start)
    return found


def some_losses(rs):
    return list(0.2 + 0.8 * np.exp(-np.arange(24) / 6) + 0.1 * rs.rand(24)), float(rs.uniform(0.6, 0.9))


def window(losses, beta):
    width = round(1 / (1 - beta))
    return [np.mean(losses[max(0, k - width + 1) : k + 1]) for k in range(len(losses))]


# --- 14.2 the loss in tenths of the timesteps -----------------------------------------------------------------------


def loss_by_time(t, losses):
    return [losses[t // 100 == tenth].mean() for tenth in range(10)]


def by_histogram(t, losses):
    edges = np.arange(0, 1001, 100)
    return np.histogram(t, edges, weights=losses)[0] / np.histogram(t, edges)[0]


def by_loop(t, losses):
    piles = [[] for _ in range(10)]
    for time, loss in zip(t, losses):
        piles[int(time / 100)].append(loss)
    return [sum(pile) / len(pile) for pile in piles]


def timed_losses(rs):
    """Every tenth has its first and its last timestep, and some between."""
    ends = [100 * k + edge for k in range(10) for edge in (0, 99)]
    t = rs.permutation([*ends, *rs.randint(0, 1000, 30)])
    return t, np.exp(-t / 300) + 0.1 * rs.rand(len(t))


# --- 14.3 does the caption matter -----------------------------------------------------------------------------------


def caption_gain(own, other):
    return other.mean() / own.mean() - 1, (own < other).mean()


def gain_by_sums(own, other):
    wins = sum(a < b for a, b in zip(own, other))
    return (sum(other) - sum(own)) / sum(own), wins / len(own)


def gain_by_difference(own, other):
    more = other - own
    return more.mean() / own.mean(), np.count_nonzero(more > 0) / len(more)


def two_losses(rs):
    own = rs.gamma(2, 0.1, 40)
    return own, own * (1 + rs.uniform(-0.3, 1.0, 40))


# --- the nine cases -------------------------------------------------------------------------------------------------
