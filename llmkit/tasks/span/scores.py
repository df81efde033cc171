"""Scores of extractive question answering: the official numbers with intervals, and the null threshold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.tasks.bootstrap import intervals_of
from llmkit.tasks.measures import Measured, mean_of
from llmkit.tasks.span.normalization import Normalize
from llmkit.tasks.span.null_threshold import best_threshold
from llmkit.tasks.span.text_overlap import exact_match, exact_match_v2, f1, f1_v2, means_of_parts, normalize_answer
from llmkit.tasks.values import Array, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

# The predicted text of a question without a prediction. It equals no answer, not even the empty one, so the question
# scores 0, as in the official scripts.
_MISSING = "\0"

Score = Callable[[str, Sequence[str]], float]


def squad_scores(
    predictions: Sequence[Prediction], examples: Dataset, normalize: Normalize = normalize_answer
) -> dict[str, Any]:
    """SQuAD 1.1: `exact_match` and `f1` in percent, with 95 % intervals [low, high] over paragraphs, and `total`.

    `normalize` says which texts are equal: by default SQuAD's own, for English.
    """
    return mean_scores(squad_values(predictions, examples, normalize), examples)


def squad_values(
    predictions: Sequence[Prediction], examples: Dataset, normalize: Normalize = normalize_answer
) -> dict[str, Array]:
    """The scores of SQuAD 1.1 by question, from 0 to 1: [questions]."""
    texts, golds, normalize = texts_of(by_id(predictions, examples)), golds_of(examples), cache(normalize)
    exact = scored(texts, golds, partial(exact_match, normalize=normalize))
    overlap = scored(texts, golds, partial(f1, normalize=normalize))
    return {"exact_match": exact, "f1": overlap}


def squad_v2_values(
    predictions: Sequence[Prediction], examples: Dataset, normalize: Normalize = normalize_answer
) -> dict[str, Array]:
    """The scores of SQuAD 2.0 by question, from 0 to 1: [questions]."""
    texts, golds, normalize = texts_of(by_id(predictions, examples)), golds_of(examples), cache(normalize)
    exact = scored(texts, golds, partial(exact_match_v2, normalize=normalize))
    overlap = scored(texts, golds, partial(f1_v2, normalize=normalize))
    return {"exact_match": exact, "f1": overlap}


def mean_scores(values: Mapping[str, Array], examples: Dataset) -> dict[str, Any]:
    """The means in percent of scores from 0 to 1, [questions], with 95 % intervals over paragraphs, and `total`."""
    # Sum sequentially, as in the official scripts: numpy's pairwise sum may differ in the last bit.
    means = {name: 100 * sum(scores.tolist()) / len(examples) for name, scores in values.items()}
    return {**means, "total": len(examples), **intervals_of(means_over_paragraphs(values, examples))}


def means_over_paragraphs(values: Mapping[str, Array], examples: Dataset) -> dict[str, Measured]:
    """The means of scores by question as measures. Questions on one paragraph are not independent."""
    paragraphs = examples["context"][:]
    return {name: Measured(mean_of(scores), paragraphs) for name, scores in values.items()}


def squad_v2_scores(
    predictions: Sequence[Prediction], examples: Dataset, normalize: Normalize = normalize_answer
) -> dict[str, Any]:
    """SQuAD 2.0: as `squad_scores`, plus means over the questions with (HasAns) and without (NoAns) an answer.

    If all predictions have null scores, also `tuned`: the best threshold on one half of the paragraphs, with the
    scores on that half and on the other half, which was not used for tuning.
    """
    found, golds = by_id(predictions, examples), golds_of(examples)
    normalize = cache(normalize)
    values = squad_v2_values(predictions, examples, normalize)
    exact, overlap = values["exact_match"], values["f1"]
    means = means_of_parts({"exact": exact, "f1": overlap}, np.array([bool(gold) for gold in golds]))
    scores: dict[str, Any] = {
        "exact_match": means.pop("exact"),
        "f1": means.pop("f1"),
        "total": means.pop("total"),
        **intervals_of(means_over_paragraphs(values, examples)),
        **means,
    }
    if all(p.null_score is not None for p in predictions):
        answered, unanswered = if_all_answered_or_none(found, golds, values, normalize)
        scores["tuned"] = _tuned(found, answered, unanswered, examples)
    return scores


def if_all_answered_or_none(
    found: Sequence[Prediction | None],
    golds: Sequence[Sequence[str]],
    values: Mapping[str, Array],
    normalize: Normalize,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """`exact_match` and `f1` by question, [questions], if every question is answered, and if none is.

    `values` are the scores of the predictions as they are.
    """
    texts = texts_of(found)
    score_of = {"exact_match": partial(exact_match_v2, normalize=normalize), "f1": partial(f1_v2, normalize=normalize)}
    answers = [p.candidates[0].text if p is not None and p.candidates else t for p, t in zip(found, texts, strict=True)]
    abstained = [number for number, text in enumerate(texts) if text != answers[number]]
    answered = {name: values[name].copy() for name in score_of}
    for name, score in score_of.items():
        # Score abstentions as if they were answered; the other questions are scored already.
        answered[name][abstained] = scored([answers[n] for n in abstained], [golds[n] for n in abstained], score)
    # Abstaining is correct on a question without an answer. A question without a prediction scores 0 either way.
    empty = ["" if prediction is not None else _MISSING for prediction in found]
    return answered, {name: scored(empty, golds, score) for name, score in score_of.items()}


def _tuned(
    found: Sequence[Prediction | None],
    answered: Mapping[str, Array],
    unanswered: Mapping[str, Array],
    examples: Dataset,
) -> dict[str, Any] | None:
    """The null threshold tuned on one half of the paragraphs and reported on the other; None if one half is empty.

    The scores are `exact_match` and `f1`, [questions], if every question is answered and if none is.
    """
    null = np.array([float(p.null_score or 0.0) if p is not None else 0.0 for p in found])
    # Split paragraphs, not questions, by hash: the halves do not depend on the order of the data.
    half = np.array([hashlib.sha256(context.encode()).digest()[0] % 2 for context in examples["context"][:]], bool)
    if half.all() or not half.any():
        return None
    threshold = best_threshold(answered["f1"][~half], unanswered["f1"][~half], null[~half])

    def report(part: Array) -> dict[str, float]:
        keep = null[part] <= threshold
        means = {n: float(100 * np.where(keep, answered[n][part], unanswered[n][part]).mean()) for n in answered}
        return {**means, "total": int(part.sum())}

    return {"null_threshold": threshold, "tuned_on": report(~half), "reported_on": report(half)}


def texts_of(found: Sequence[Prediction | None]) -> list[str]:
    """The predicted texts. A missing prediction gets a text that equals no answer, not even the empty one."""
    return [prediction.text if prediction is not None else _MISSING for prediction in found]


def golds_of(examples: Dataset) -> list[list[str]]:
    """The texts of the answers to each question."""
    return [answers["text"] for answers in examples["answers"][:]]


def scored(texts: Sequence[str], golds: Sequence[Sequence[str]], score: Score) -> Array:
    """The score of each text against its answers, [questions]."""
    return np.array([score(text, gold) for text, gold in zip(texts, golds, strict=True)])
