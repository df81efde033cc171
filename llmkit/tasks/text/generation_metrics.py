"""Metrics of generated texts: ROUGE (Lin 2004) from Google's rouge-score, BLEU and chrF from sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
RESAMPLES = 1000


def rouge(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, list[float]]:
    """The F-measures of each text, from 0 to 1, with stemming, as papers on summarization report them.

    For rougeLsum, each line of a text is a sentence.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    scores = [scorer.score(reference, text) for text, reference in zip(hypotheses, references, strict=True)]
    return {name: [float(score[name].fmeasure) for score in scores] for name in ROUGE}


def bleu_and_chrf(hypotheses: Sequence[str], references: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Corpus-level `bleu` and `chrf` in percent, each with sacrebleu's `_signature` and a 95 % bootstrap `_interval`
    over texts, None if there is only one text."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    scores: dict[str, Any] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        # sacrebleu's counts per text. Its own bootstrap fails on numpy's floats.
        counts = np.asarray(metric._extract_corpus_statistics(list(hypotheses), [list(references)]))
        scores[name] = _score(metric, counts.sum(axis=0))
        scores[f"{name}_interval"] = None
        if len(counts) > 1:
            drawn = np.random.default_rng(seed).integers(len(counts), size=(RESAMPLES, len(counts)))
            ends = np.quantile([_score(metric, counts[rows].sum(axis=0)) for rows in drawn], (0.025, 0.975))
            scores[f"{name}_interval"] = [float(end) for end in ends]
        scores[f"{name}_signature"] = str(metric.get_signature())
    return scores


def _score(metric: Any, counts: Any) -> float:
    return float(metric._compute_score_from_stats(counts.tolist()).score)
