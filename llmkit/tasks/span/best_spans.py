"""The best spans of a window, by a search that leaves none out."""

from __future__ import annotations

import numpy as np

from llmkit.tasks.values import Array


def best_spans(
    start_logits: Array, end_logits: Array, allowed: Array, max_length: int, count: int
) -> tuple[Array, Array, Array]:
    """First tokens, last tokens and scores of the `count` best spans, best first, each [spans].

    A span's score is its start logit plus its end logit. Spans start and end on `allowed` tokens and have at most
    `max_length` tokens. The logits and `allowed` are [tokens].
    """
    tokens = np.flatnonzero(allowed)
    if not len(tokens):
        return tokens, tokens, np.empty(0)
    low, high = int(tokens[0]), int(tokens[-1]) + 1
    start = np.where(allowed, start_logits, -np.inf)[low:high].astype(np.float64)
    end = np.where(allowed, end_logits, -np.inf)[low:high].astype(np.float64)
    width = min(max_length, len(start))
    end = np.concatenate([end, np.full(width - 1, -np.inf)])
    # Of each start only the best span is scored at first. Unless there are fewer starts than wanted spans, `count` of
    # these spans are as good as the last of them, so a start whose best is worse begins none of the wanted ones.
    best_of_start = start + _maxima(end, width)
    firsts = np.flatnonzero(best_of_start >= _nth_largest(best_of_start, count))
    # scores[i, k] is the score of tokens firsts[i] … firsts[i] + k.
    scores = (start[firsts, None] + end[firsts[:, None] + np.arange(width)]).ravel()
    # Break ties by the earlier start, then the shorter span; also between spans at the end of the list.
    top = np.flatnonzero(scores >= _nth_largest(scores, count))
    top = top[np.argsort(-scores[top], kind="stable")][:count]
    top = top[np.isfinite(scores[top])]
    starts, lengths = np.divmod(top, width)
    first = low + firsts[starts]
    return first, first + lengths, scores[top]


def _nth_largest(values: Array, n: int) -> float:
    """The n-th largest of the values; the smallest if there are fewer."""
    n = min(n, len(values))
    return float(np.partition(values, -n)[-n])


def _maxima(values: Array, width: int) -> Array:
    """The largest of each `width` values in a row, [values - width + 1], from the largest of 2, 4, 8 …"""
    reached = 1
    while reached < width:
        step = min(reached, width - reached)
        values = np.maximum(values[:-step], values[step:])
        reached += step
    return values
