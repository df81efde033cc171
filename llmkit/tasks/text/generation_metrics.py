"""Scores of written texts: ROUGE (Lin 2004) as Google's rouge-score has it, BLEU and chrF as sacrebleu has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
RESAMPLES = 1000


def rouge(written: Sequence[str], wanted: Sequence[str]) -> dict[str, list[float]]:
    """The F-measures of each text, between 0 and 1, stemmed, as papers on summarization report them.

    rougeLsum takes a text's lines for its sentences.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    scores = [scorer.score(target, prediction) for prediction, target in zip(written, wanted, strict=True)]
    return {name: [float(score[name].fmeasure) for score in scores] for name in ROUGE}


def translation(written: Sequence[str], wanted: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """`bleu` and `chrf` of all texts together, in percent, each with sacrebleu's `_signature`, and with a percentile
    bootstrap `_interval` of 95 % over texts, None where there is only one."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    scores: dict[str, Any] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        # What sacrebleu counts in each text; its own bootstrap over these trips over numpy's floats.
        counts = np.asarray(metric._extract_corpus_statistics(list(written), [list(wanted)]))
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
