"""GLUE (Wang et al. 2019): nine tasks on sentences and pairs of them, as nyu-mll/glue holds them.

Columns, labels by number, and scores are the benchmark's own. Where it has two scores for a task, their mean picks
the best checkpoint, as it enters GLUE's average: `combined_score`, as transformers' run_glue names it.
"""

from __future__ import annotations

from typing import Any

from llmkit.tasks.label.task import Classification, Regression

_F1: dict[str, Any] = {"metric": "combined_score", "headline": ("accuracy", "f1", "combined_score")}
_SENTENCES = ("sentence1", "sentence2")


def _of(
    kind: type[Classification], name: str, what: str, columns: tuple[str, ...], names: tuple[str, ...], **more: Any
) -> Classification:
    return kind(
        name=f"glue/{name}",
        title=f"GLUE: {what}",
        recipe="glue-bert-base",
        hub_id="nyu-mll/glue",
        hub_name=name,
        text_column=columns[0],
        pair_column=columns[1] if len(columns) > 1 else None,
        names=names,
        item="sentence" if len(columns) == 1 else "pair",
        **more,
    )


GLUE = (
    _of(
        Classification,
        "cola",
        "is a sentence acceptable English?",
        ("sentence",),
        ("unacceptable", "acceptable"),
        metric="matthews_correlation",
        headline=("matthews_correlation", "accuracy"),
    ),
    _of(Classification, "sst2", "is a film review positive?", ("sentence",), ("negative", "positive")),
    _of(
        Classification,
        "mrpc",
        "do two sentences of the news mean the same?",
        _SENTENCES,
        ("not_equivalent", "equivalent"),
        **_F1,
    ),
    _of(
        Classification,
        "qqp",
        "do two questions of Quora ask the same?",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        **_F1,
    ),
    _of(
        Regression,
        "stsb",
        "how alike are two sentences, from 0 to 5?",
        _SENTENCES,
        ("score",),
        metric="combined_score",
        headline=("pearson", "spearmanr", "combined_score"),
    ),
    _of(
        Classification,
        "mnli",
        "does a premise entail a hypothesis, contradict it, or neither?",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        parts=("matched", "mismatched"),
    ),
    _of(
        Classification,
        "qnli",
        "does a sentence of Wikipedia hold the answer to a question?",
        ("question", "sentence"),
        ("entailment", "not_entailment"),
    ),
    _of(Classification, "rte", "does one text entail another?", _SENTENCES, ("entailment", "not_entailment")),
    _of(
        Classification,
        "wnli",
        "does a sentence entail another in which a pronoun is replaced?",
        _SENTENCES,
        ("not_entailment", "entailment"),
    ),
)
