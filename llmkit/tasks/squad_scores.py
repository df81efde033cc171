"""Scores of extractive question answering: the official numbers, how sure they are, and the null threshold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.metrics.bootstrap import cluster_interval
from llmkit.metrics.null_threshold import best_threshold
from llmkit.metrics.text_overlap import exact_match, exact_match_v2, f1, f1_v2
from llmkit.tasks.base import Prediction

if TYPE_CHECKING:
    from datasets import Dataset


def squad_scores(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """SQuAD 1.1: `exact_match` and `f1` in percent, `total`, and 95 % intervals [low, high] over paragraphs."""
    from llmkit.metrics.squad import Squad

    texts, golds = _pairs(predictions, examples)
    # evaluate wants as many predictions as references; one that is missing is there under no question's id.
    scores = Squad().compute(
        predictions=[
            {"id": i if text is not None else f"no prediction for {i}", "prediction_text": text or ""}
            for i, text in zip(examples["id"], texts, strict=True)
        ],
        references=[{"id": i, "answers": a} for i, a in zip(examples["id"], examples["answers"], strict=True)],
    )
    # A question that was not predicted scores 0, as in the official script.
    exact = [exact_match(t, g) if t is not None else 0.0 for t, g in zip(texts, golds, strict=True)]
    overlap = [f1(t, g) if t is not None else 0.0 for t, g in zip(texts, golds, strict=True)]
    return {
        "exact_match": scores["exact_match"],
        "f1": scores["f1"],
        "total": len(examples),
        **_intervals(exact, overlap, examples),
    }


def squad_v2_scores(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """SQuAD 2.0: the same, over questions with (HasAns) and without (NoAns) an answer too.

    Where predictions carry null scores, also `tuned`: the threshold that is best on one half of the
    paragraphs, with the scores of that half and, untouched by the choice, of the other.
    """
    from llmkit.metrics.squad_v2 import SquadV2

    texts, golds = _pairs(predictions, examples)
    exact = [exact_match_v2(t or "", g) for t, g in zip(texts, golds, strict=True)]
    overlap = [f1_v2(t or "", g) for t, g in zip(texts, golds, strict=True)]
    official = SquadV2().compute(
        predictions=[{"id": p.id, "prediction_text": p.text, "no_answer_probability": 0.0} for p in predictions],
        references=[{"id": i, "answers": a} for i, a in zip(examples["id"], examples["answers"], strict=True)],
    )
    scores: dict[str, Any] = {
        "exact_match": official.pop("exact"),
        "f1": official.pop("f1"),
        "total": official.pop("total"),
        **_intervals(exact, overlap, examples),
        # The official search for the best threshold tunes on what it reports; ours does not.
        **{name: value for name, value in official.items() if not name.startswith("best_")},
    }
    if all(p.null_score is not None for p in predictions):
        scores["tuned"] = _tuned(predictions, examples)
    return scores


def _tuned(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any] | None:
    """The null threshold chosen on one half of the paragraphs and reported on the other."""
    by_id = {p.id: p for p in predictions}
    texts = [by_id[i].candidates[0].text if i in by_id and by_id[i].candidates else "" for i in examples["id"]]
    golds = [answers["text"] for answers in examples["answers"]]
    null = np.array([float(by_id[i].null_score or 0.0) if i in by_id else np.inf for i in examples["id"]])
    columns = {
        "exact_match": (exact_match_v2, np.array([exact_match_v2("", g) for g in golds])),
        "f1": (f1_v2, np.array([f1_v2("", g) for g in golds])),
    }
    answered = {
        n: np.array([score(t, g) for t, g in zip(texts, golds, strict=True)]) for n, (score, _) in columns.items()
    }
    # Halves of paragraphs, not of questions, and the same ones whatever the order of the data.
    half = np.array([hashlib.sha256(context.encode()).digest()[0] % 2 for context in examples["context"]], bool)
    if half.all() or not half.any():
        return None
    threshold = best_threshold(answered["f1"][~half], columns["f1"][1][~half], null[~half])

    def report(part: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, float]:
        keep = null[part] <= threshold
        means = {n: float(100 * np.where(keep, answered[n][part], columns[n][1][part]).mean()) for n in columns}
        return {**means, "total": int(part.sum())}

    return {"null_threshold": threshold, "tuned_on": report(~half), "reported_on": report(half)}


def _pairs(predictions: Sequence[Prediction], examples: Dataset) -> tuple[list[str | None], list[list[str]]]:
    """Predicted text, None where there is none, and gold texts of every example."""
    by_id = {p.id: p.text for p in predictions}
    return [by_id.get(i) for i in examples["id"]], [answers["text"] for answers in examples["answers"]]


def _intervals(exact: Any, overlap: Any, examples: Dataset) -> dict[str, list[float] | None]:
    """Bootstrap over paragraphs: questions of one paragraph are not independent."""
    groups = examples["context"]

    def percent(values: Any) -> list[float] | None:
        interval = cluster_interval(values, groups)
        return [100 * end for end in interval] if interval else None

    return {"exact_match_interval": percent(exact), "f1_interval": percent(overlap)}
