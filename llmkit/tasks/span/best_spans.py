"""The best spans of a window, by exhaustive search."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def best_spans(
    start_logits: Array, end_logits: Array, allowed: Array, max_length: int, count: int
) -> list[tuple[int, int, float]]:
    """(first token, last token, score) of the `count` best spans, best first.

    A span's score is its start logit plus its end logit. Spans start and end on `allowed` tokens and have at most
    `max_length` tokens. All arrays are [tokens].
    """
    tokens = np.flatnonzero(allowed)
    if not len(tokens):
        return []
    low, high = int(tokens[0]), int(tokens[-1]) + 1
    start = np.where(allowed, start_logits, -np.inf)[low:high].astype(np.float64)
    end = np.where(allowed, end_logits, -np.inf)[low:high].astype(np.float64)
    width = min(max_length, len(start))
    padded = np.concatenate([end, np.full(width - 1, -np.inf)])
    # scores[i, k] is the score of tokens i … i+k.
    scores = (start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, width)).ravel()
    count = min(count, len(scores))
    # Break ties by the earlier start, then the shorter span; also between spans at the end of the list.
    top = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    top = top[np.argsort(-scores[top], kind="stable")][:count]
    firsts, lengths = np.divmod(top, width)
    return [
        (int(low + first), int(low + first + length), float(score))
        for first, length, score in zip(firsts, lengths, scores[top], strict=True)
        if np.isfinite(score)
    ]
