"""Score an answer against its gold answers, as SQuAD's official scripts v1.1 and v2.0 do.

Scores are from 0 to 1, the maximum over the gold answers. `exact_match` and `f1` follow v1.1; `exact_match_v2` and
`f1_v2` follow v2.0, where a question without gold answers is answered correctly by the empty text. `normalize` is the
script's, for English; normalization.py has others.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from llmkit.tasks.span.normalization import Normalize
from llmkit.tasks.values import Array

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_DROP_PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII only, as in the official scripts


def normalize_answer(text: str) -> str:
    """Lowercase `text`, remove ASCII punctuation and English articles, and join its words by single spaces."""
    bare = text.lower().translate(_DROP_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def exact_match(prediction: str, gold_texts: Sequence[str], normalize: Normalize = normalize_answer) -> float:
    """1.0 if `prediction` equals one of `gold_texts` after normalization, else 0.0.

    Raises ValueError if `gold_texts` is empty: in v1.1 every question has an answer.
    """
    answer = normalize(prediction)
    return max(float(answer == normalize(gold)) for gold in gold_texts)


def f1(prediction: str, gold_texts: Sequence[str], normalize: Normalize = normalize_answer) -> float:
    """The token F1 against the closest of `gold_texts`.

    As in the official v1.1 script, two texts that both normalize to nothing score 0.0, although `exact_match` gives
    1.0. Raises ValueError if `gold_texts` is empty.
    """
    answer = normalize(prediction).split()
    return max(_token_f1(answer, gold.split()) for gold in {normalize(gold) for gold in gold_texts})


def exact_match_v2(prediction: str, gold_texts: Sequence[str], normalize: Normalize = normalize_answer) -> float:
    """`exact_match`, but if no gold text is left after normalization, the empty answer is correct."""
    return exact_match(prediction, _golds_or_empty(gold_texts, normalize), normalize)


def f1_v2(prediction: str, gold_texts: Sequence[str], normalize: Normalize = normalize_answer) -> float:
    """`f1`, but if no gold text is left after normalization, the empty answer scores 1.0 and any other 0.0."""
    golds = _golds_or_empty(gold_texts, normalize)
    return f1(prediction, golds, normalize) if golds != [""] else exact_match(prediction, golds, normalize)


def _golds_or_empty(gold_texts: Sequence[str], normalize: Normalize) -> list[str]:
    return [gold for gold in gold_texts if normalize(gold)] or [""]


def _token_f1(answer: list[str], gold: list[str]) -> float:
    if answer == gold:  # most are: do not count
        return float(bool(gold))
    shared = (Counter(answer) & Counter(gold)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(answer), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def means_of_parts(scores: Mapping[str, Array], has_answer: Array) -> dict[str, float]:
    """Means in percent and `total`, named as in evaluate-v2.0.py: over all questions, and over those with (HasAns_) and
    without (NoAns_) an answer, if any."""
    means = _means(scores, np.ones_like(has_answer))
    for prefix, chosen in (("HasAns", has_answer), ("NoAns", ~has_answer)):
        if chosen.any():
            means |= {f"{prefix}_{name}": value for name, value in _means(scores, chosen).items()}
    return means


def _means(scores: Mapping[str, Array], chosen: Array) -> dict[str, float]:
    total = int(chosen.sum())
    percents = {name: 100 * float(values[chosen].sum()) / total for name, values in scores.items()}
    return percents | {"total": total}
