"""Scores of extractive question answering: the official numbers, how sure they are, and the null threshold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.tasks.bootstrap import cluster_interval
from llmkit.tasks.span.null_threshold import best_threshold
from llmkit.tasks.span.text_overlap import exact_match, exact_match_v2, f1, f1_v2
from llmkit.tasks.values import Prediction

if TYPE_CHECKING:
    from datasets import Dataset


# Stands for the prediction that a question lacks. It equals no answer, not even the empty one, so the question
# scores 0, as in the official scripts.
_MISSING = "\0"


def squad_scores(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """SQuAD 1.1: `exact_match` and `f1` in percent, `total`, and 95 % intervals [low, high] over paragraphs."""
    from llmkit.tasks.span.squad_metric import Squad

    ids, texts, golds, references = _matched(predictions, examples)
    scores = Squad().compute(
        predictions=[{"id": i, "prediction_text": text} for i, text in zip(ids, texts, strict=True)],
        references=references,
    )
    exact = [exact_match(t, g) for t, g in zip(texts, golds, strict=True)]
    overlap = [f1(t, g) for t, g in zip(texts, golds, strict=True)]
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
    from llmkit.tasks.span.squad_v2_metric import SquadV2

    ids, texts, golds, references = _matched(predictions, examples)
    exact = [exact_match_v2(t, g) for t, g in zip(texts, golds, strict=True)]
    overlap = [f1_v2(t, g) for t, g in zip(texts, golds, strict=True)]
    official = SquadV2().compute(
        predictions=[
            {"id": i, "prediction_text": text, "no_answer_probability": 0.0} for i, text in zip(ids, texts, strict=True)
        ],
        references=references,
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
    # What each question gets if it is answered, and if it is left empty: nothing either way if it is missing.
    missing = Prediction("", _MISSING, 0.0, null_score=0.0)
    by_id = {p.id: p for p in predictions}
    found = [by_id.get(i, missing) for i in examples["id"][:]]
    texts = [p.candidates[0].text if p.candidates else p.text for p in found]
    empty = ["" if p is not missing else _MISSING for p in found]
    golds = [answers["text"] for answers in examples["answers"][:]]
    null = np.array([float(p.null_score or 0.0) for p in found])
    columns = {
        n: (score, np.array([score(t, g) for t, g in zip(empty, golds, strict=True)]))
        for n, score in (("exact_match", exact_match_v2), ("f1", f1_v2))
    }
    answered = {
        n: np.array([score(t, g) for t, g in zip(texts, golds, strict=True)]) for n, (score, _) in columns.items()
    }
    # Halves of paragraphs, not of questions, and the same ones whatever the order of the data.
    half = np.array([hashlib.sha256(context.encode()).digest()[0] % 2 for context in examples["context"][:]], bool)
    if half.all() or not half.any():
        return None
    threshold = best_threshold(answered["f1"][~half], columns["f1"][1][~half], null[~half])

    def report(part: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, float]:
        keep = null[part] <= threshold
        means = {n: float(100 * np.where(keep, answered[n][part], columns[n][1][part]).mean()) for n in columns}
        return {**means, "total": int(part.sum())}

    return {"null_threshold": threshold, "tuned_on": report(~half), "reported_on": report(half)}


def _matched(
    predictions: Sequence[Prediction], examples: Dataset
) -> tuple[list[str], list[str], list[list[str]], list[dict[str, Any]]]:
    """Of every example its id, predicted text, gold texts, and form as a metric's reference."""
    by_id = {p.id: p.text for p in predictions}
    ids, answers = examples["id"][:], examples["answers"][:]
    references = [{"id": i, "answers": a} for i, a in zip(ids, answers, strict=True)]
    return ids, [by_id.get(i, _MISSING) for i in ids], [a["text"] for a in answers], references


def _intervals(exact: Any, overlap: Any, examples: Dataset) -> dict[str, list[float] | None]:
    """Bootstrap over paragraphs: questions of one paragraph are not independent."""
    groups = examples["context"][:]

    def percent(values: Any) -> list[float] | None:
        interval = cluster_interval(values, groups)
        return [100 * end for end in interval] if interval else None

    return {"exact_match_interval": percent(exact), "f1_interval": percent(overlap)}
