"""The best spans of windows, by a search that leaves none out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmkit.tasks.values import Array


def best_spans(
    start_logits: Array, end_logits: Array, allowed: Array, max_length: int, count: int
) -> tuple[Array, Array, Array, Array]:
    """The `count` best spans of each window: window, first token, last token and score, each [spans], best first.

    A span's score is its start logit plus its end logit. Spans start and end on `allowed` tokens and have at most
    `max_length` tokens. The logits and `allowed` are [windows, tokens].
    """
    tokens = allowed.shape[1]
    width, count_of_starts = min(max_length, tokens), min(count, tokens)
    start = np.where(allowed, start_logits, -np.inf).astype(np.float64)
    end = np.full((len(start), tokens + width - 1), -np.inf)
    end[:, :tokens] = np.where(allowed, end_logits, -np.inf)
    # Of each start only the best span is scored at first. `count` of these are as good as the last of them, so spans
    # that are worse are none of the wanted ones. With fewer starts than wanted spans, all starts are tried.
    best_of_start = start + _maxima(end, width)
    bound = np.partition(best_of_start, -count_of_starts, axis=1)[:, -count_of_starts, None]
    bound = np.where(count_of_starts < count, -np.inf, bound)
    windows, firsts = np.nonzero((best_of_start >= bound) & (best_of_start > -np.inf))
    # scores[i, k] is the score of tokens firsts[i] … firsts[i] + k.
    scores = start[windows, firsts, None] + end[windows[:, None], firsts[:, None] + np.arange(width)]
    starts, lengths = np.nonzero((scores >= bound[windows]) & np.isfinite(scores))
    windows, firsts, scores = windows[starts], firsts[starts], scores[starts, lengths]
    # The sort is stable: of equal spans the earlier start comes first, then the shorter span.
    order = np.lexsort((-scores, windows))
    rank = np.arange(len(order)) - np.searchsorted(windows, windows)
    order = order[rank < count]
    firsts = firsts[order]
    return windows[order], firsts, firsts + lengths[order], scores[order]


def _maxima(values: Array, width: int) -> Array:
    """The largest of each `width` neighbours, [windows, values - width + 1], from the largest of 2, 4, 8 …"""
    reached = 1
    while reached < width:
        step = min(reached, width - reached)
        values = np.maximum(values[:, :-step], values[:, step:])
        reached += step
    return values


def stacked(rows: Sequence[Array], fill: float) -> Array:
    """Arrays of different lengths as one, [rows, longest, …], of the type of the first. `fill` is behind their ends."""
    filled = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), fill, rows[0].dtype)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled
