"""Scores of CMRC 2018 (Cui et al. 2019), as its official script for SQuAD-style data gives them.

Chinese characters are compared one by one, other text by words. F1 counts the longest run of these that prediction and
answer share, unlike SQuAD's, which counts shared words in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING, Any

from llmkit.tasks.span.scores import golds_of, mean_scores, scored, texts_of
from llmkit.tasks.values import Array, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

# The characters that the script removes: most punctuation, and some symbols.
_REMOVED = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_HAN = re.compile(r"([\u4e00-\u9fa5])")


def cmrc2018_scores(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """`exact_match`, `f1` and their mean `average`, in percent, with 95 % intervals over paragraphs, and `total`."""
    return mean_scores(cmrc2018_values(predictions, examples), examples)


def cmrc2018_values(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Array]:
    """The scores by question, from 0 to 1: [questions]."""
    texts = texts_of(by_id(predictions, examples))
    golds = [gold + unplaced for gold, unplaced in zip(golds_of(examples), examples["unplaced"][:], strict=True)]
    exact, overlap = scored(texts, golds, exact_match), scored(texts, golds, f1)
    return {"exact_match": exact, "f1": overlap, "average": (exact + overlap) / 2}


def exact_match(prediction: str, gold_texts: Sequence[str]) -> float:
    """1.0 if the prediction is one of the answers, but for case and the removed characters; else 0.0."""
    return float(_bare(prediction) in {_bare(gold) for gold in gold_texts})


def f1(prediction: str, gold_texts: Sequence[str]) -> float:
    """The F1 of the longest shared run against the closest answer, from 0 to 1.

    As in the official script, a text of which nothing is left scores 0.0, although `exact_match` may give 1.0.
    """
    found = list(_segments(prediction))
    return max(_run_f1(found, list(_segments(gold))) for gold in gold_texts)


def _run_f1(found: list[str], gold: list[str]) -> float:
    run = SequenceMatcher(None, found, gold, autojunk=False).find_longest_match().size
    if run == 0:
        return 0.0
    precision, recall = run / len(found), run / len(gold)
    return 2 * precision * recall / (precision + recall)


def _bare(text: str) -> str:
    return text.lower().strip().translate(_REMOVED)


def _segments(text: str) -> Iterator[str]:
    """Chinese characters, and the words between them.

    The official script also divides a stretch of other text into sentences, with a model that NLTK downloads. It
    matters only if an answer has two sentences of such text without a Chinese character between them.
    """
    for part in _HAN.split(_bare(text)):
        if _HAN.match(part):
            yield part
        elif part.strip():
            yield from _word_tokenizer().tokenize(part)


@cache
def _word_tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()
