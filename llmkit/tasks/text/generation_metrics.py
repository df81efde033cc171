"""Metrics of generated texts: ROUGE (Lin 2004) from Google's rouge-score, BLEU and chrF from sacrebleu."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.corpus.words import words
from llmkit.system.errors import UserError
from llmkit.tasks.languages import is_english_like, language_by_script
from llmkit.tasks.measures import Measure, Sums
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
# sacrebleu's tokenizers. For other languages it takes 13a, which keeps what stands between two spaces together.
_BLEU_TOKENIZERS = {
    "zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab",
    **dict.fromkeys(("th", "lo", "km", "my", "bo"), "char"),
}  # fmt: skip
_EXTRAS = {"ja-mecab": "japanese", "ko-mecab": "korean"}


class _UnicodeWords:
    """A tokenizer for rouge-score: words of any script, lowercased, without a stemmer."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text; in scripts without spaces its characters."""
        return words(unicodedata.normalize("NFC", text.lower()))


def rouge(
    hypotheses: Sequence[str], references: Sequence[str], language: str | None = None
) -> tuple[dict[str, list[float]], str]:
    """The F-measures of each text, from 0 to 1, and how texts were cut into words.

    For English, by rouge-score itself with stemming, as papers on summarization report them. rouge-score drops all
    letters but a-z, so texts in other languages are cut into Unicode words. Without a `language` (a code such as `en`),
    the letters of the references decide. For rougeLsum, each line of a text is a sentence.
    """
    from rouge_score.rouge_scorer import RougeScorer

    english = language == "en" or (language is None and is_english_like(references))
    tokenizer = None if english else _UnicodeWords()
    scorer = RougeScorer(list(ROUGE), use_stemmer=True, tokenizer=tokenizer)
    scores = [scorer.score(reference, text) for text, reference in zip(hypotheses, references, strict=True)]
    measures = {name: [float(score[name].fmeasure) for score in scores] for name in ROUGE}
    return measures, "rouge-score: a-z and 0-9, stemmed" if english else "Unicode words, not stemmed"


def bleu_metric(references: Sequence[str], language: str | None = None) -> BLEU:
    """sacrebleu's BLEU with its tokenizer for the language.

    `language` is a code such as `ja`. If it has no tokenizer of its own, the script of the references decides. Raises
    UserError if the tokenizer's packages are not installed.
    """
    from sacrebleu.metrics.bleu import BLEU

    languages = (language, language_by_script(references))
    tokenizer = next((_BLEU_TOKENIZERS[found] for found in languages if found in _BLEU_TOKENIZERS), "13a")
    try:
        return BLEU(tokenize=tokenizer)
    except RuntimeError:
        if tokenizer not in _EXTRAS:
            raise
        extra = _EXTRAS[tokenizer]
        raise UserError(
            f"BLEU of {extra.title()} texts needs sacrebleu's tokenizer {tokenizer}, whose packages are not installed",
            remedy=f"install it: pip install 'llmkit[{extra}]'",
        ) from None


def bleu_and_chrf(
    hypotheses: Sequence[str], references: Sequence[str], language: str | None = None
) -> dict[str, tuple[Measure, str]]:
    """Corpus-level `bleu` and `chrf` in percent, as measures of texts, each with sacrebleu's signature.

    See `bleu_metric` for `language`, and for what it raises.
    """
    from sacrebleu.metrics.chrf import CHRF

    metrics: dict[str, Any] = {"bleu": bleu_metric(references, language), "chrf": CHRF()}
    # sacrebleu's counts per text. Its own bootstrap fails on numpy's floats.
    found = {}
    for name, metric in metrics.items():
        counts = metric._extract_corpus_statistics(list(hypotheses), [list(references)])
        found[name] = _measure(metric, counts), str(metric.get_signature())  # which needs the counts
    return found


def _measure(metric: Any, counts: Any) -> Measure:
    def score(sums: Array) -> Array:
        rows = sums.reshape(-1, sums.shape[-1]).astype(int).tolist()
        return np.array([metric._compute_score_from_stats(row).score for row in rows]).reshape(sums.shape[:-1])

    return Sums(np.asarray(counts, np.float64), score)
