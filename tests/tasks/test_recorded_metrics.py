"""Scores of entities and of short answers are those of seqeval and nq_eval.py, whose answers were recorded.

tests/record_official_scores.py made the recordings.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import DATA

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import cluster_interval, corpus_interval
from llmkit.tasks.span.natural_questions_metric import short_answer_scores
from llmkit.tasks.tags.entities import Entity, entities, entity_counts, entity_scores, f1_of_counts

properties = settings(deadline=None, database=None)


# Intervals of scores that are no means.


def test_corpus_interval_of_a_mean_is_the_cluster_interval() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(80), rng.integers(1, 6, size=80)).tolist()
    values = rng.random(len(groups))
    general = corpus_interval(lambda rows: float(values[rows].mean()), groups, resamples=4000)
    assert general == pytest.approx(cluster_interval(values, groups, resamples=4000), abs=0.005)
    assert general == corpus_interval(lambda rows: float(values[rows].mean()), groups, resamples=4000)


def test_corpus_interval_draws_whole_groups() -> None:
    groups = ["x", "y", "x", "z", "y", "x"]
    drawn = []
    corpus_interval(lambda rows: float(drawn.append(rows.tolist()) or 0), groups, resamples=20)
    assert len(drawn) == 20
    for rows in drawn:
        times = np.bincount(rows, minlength=6)
        assert times[0] == times[2] == times[5]
        assert times[1] == times[4]
        assert times[0] + times[1] + times[3] == 3


def test_corpus_interval_of_one_group_is_none() -> None:
    assert corpus_interval(lambda rows: 1.0, ["p", "p"]) is None
    with pytest.raises(ValueError, match="no example"):
        corpus_interval(lambda rows: 1.0, [])
    with pytest.raises(ValueError, match="level must lie"):
        corpus_interval(lambda rows: 1.0, ["p", "q"], level=95)


# Entities.

_LINES = gzip.decompress((DATA / "official_entity_scores.jsonl.gz").read_bytes()).splitlines()
RECORDED: list[list[Any]] = [json.loads(line) for line in _LINES]


def test_entity_scores_equal_seqeval() -> None:
    assert len(RECORDED) == 350
    for _, references, predictions, report in RECORDED:
        ours = entity_scores(predictions, references)
        per_type = ours.pop("per_type")
        assert isinstance(per_type, dict)
        theirs = {
            name: {
                key.replace("f1-score", "f1"): value * (1 if key == "support" else 100) for key, value in row.items()
            }
            for name, row in report.items()
        }
        assert ours == pytest.approx(theirs["micro avg"])
        assert set(per_type) | {"micro avg", "macro avg", "weighted avg"} == set(theirs)
        for name, scores in per_type.items():
            assert scores == pytest.approx(theirs[name]), name


def test_the_recording_holds_the_hard_cases() -> None:
    default = [row for row in RECORDED if row[0] is None]
    sentences = [tags for _, references, *_ in default for tags in references]
    # What strict schemes don't allow: an entity that begins with I or E, a type that changes inside.
    assert sum(tags[:1] == ["I-PER"] or tags[:1] == ["E-PER"] for tags in sentences) > 10
    assert sum("B" in tags for tags in sentences) > 10
    assert sum(not tags for tags in sentences) > 10
    assert sum(0 < report["micro avg"]["f1-score"] < 1 for *_, report in default) > 150
    assert sum(0 < report["micro avg"]["f1-score"] < 1 for scheme, *_, report in RECORDED if scheme == "BILOU") > 15


@pytest.mark.parametrize(
    "tags",
    [
        ["B-PER", "I-PER", "O", "B-LOC", "B-LOC"],  # IOB2
        ["I-PER", "I-PER", "O", "I-LOC", "B-LOC"],  # IOB1
        ["I-PER", "E-PER", "O", "E-LOC", "E-LOC"],  # IOE2
        ["I-PER", "I-PER", "O", "E-LOC", "I-LOC"],  # IOE1
        ["B-PER", "E-PER", "O", "S-LOC", "S-LOC"],  # IOBES
        ["B-PER", "L-PER", "O", "U-LOC", "U-LOC"],  # BILOU
    ],
)
def test_every_scheme_reads_the_same_entities(tags: list[str]) -> None:
    assert entities(tags) == [Entity("PER", 0, 1), Entity("LOC", 3, 3), Entity("LOC", 4, 4)]


tag = st.sampled_from(["O", "O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "L-Y", "U-Y", "I"])
sentence = st.lists(st.tuples(tag, tag), max_size=8)


@properties
@given(st.lists(sentence, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_entity_counts_add_up_in_any_order(sentences: list[list[tuple[str, str]]], rng: Any) -> None:
    predictions, references = ([[pair[side] for pair in pairs] for pairs in sentences] for side in (0, 1))
    counts = entity_counts(predictions, references)
    scores = entity_scores(predictions, references)
    assert f1_of_counts(counts.sum(axis=0)) == scores["f1"]
    assert scores["support"] == counts[:, 2].sum()
    order = rng.sample(range(len(sentences)), len(sentences))
    assert scores == entity_scores([predictions[i] for i in order], [references[i] for i in order])
    perfect = entity_scores(references, references)
    assert perfect["f1"] == perfect["precision"] == (100.0 if counts[:, 2].any() else 0.0)


@pytest.mark.parametrize("bad", ["PER", "b-PER", "B_PER", "M-PER", "O-PER", "", "-X-"])
def test_what_is_no_tag_is_named(bad: str) -> None:
    with pytest.raises(UserError, match="is no tag of an entity scheme") as refusal:
        entity_scores([["O", "O"]], [["O", bad]])
    assert repr(bad) in str(refusal.value)


def test_sentences_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="sentence 1 has 1 predicted tags for 2 words"):
        entity_scores([["O"], ["O"]], [["O"], ["O", "O"]])
    for predictions, references in (([], []), ([["O"]], [["O"], ["O"]])):
        with pytest.raises(ValueError, match="references"):
            entity_counts(predictions, references)


# Short answers of Natural Questions.

_NQ_LINES = gzip.decompress((DATA / "official_nq_scores.jsonl.gz").read_bytes()).splitlines()
NQ: list[dict[str, Any]] = [json.loads(line) for line in _NQ_LINES]


def answer_of(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def annotation_of(value: Any) -> Any:
    return {tuple(span) for span in value} if isinstance(value, list) else value


def ours_of(row: dict[str, Any]) -> dict[str, Any]:
    return short_answer_scores(
        [answer_of(value) for value in row["predictions"]],
        row["scores"],
        [[annotation_of(value) for value in one] for one in row["annotations"]],
        [f"document {number // 2}" for number in range(len(row["scores"]))],
        non_null_annotations=row["non_null"],
    )


def test_short_answer_scores_equal_nq_eval() -> None:
    assert len(NQ) == 80
    for row in NQ:
        ours, theirs = ours_of(row), row["metrics"]
        best = {name: 100 * theirs[f"short-best-threshold-{name}"] for name in ("f1", "precision", "recall")}
        assert {name: ours[name] for name in best} == pytest.approx(best)
        if best["f1"]:
            assert ours["threshold"] == pytest.approx(theirs["short-best-threshold"])
        every = {f"all_{name}": 100 * theirs[f"short-answer-{name}"] for name in ("f1", "precision", "recall")}
        assert {name: ours[name] for name in every} == pytest.approx(every)
        for precision in (0.5, 0.75, 0.9):
            wanted = 100 * theirs[f"short-recall-at-precision>={precision}"]
            assert ours[f"recall_at_precision_{precision}"] == pytest.approx(wanted)


def test_the_threshold_is_also_chosen_where_it_is_not_reported() -> None:
    tuned = [ours["tuned"] for ours in map(ours_of, NQ) if ours["tuned"]]
    assert len(tuned) > 40
    for one in tuned:
        assert one["tuned_on"]["total"] > 0
        assert one["reported_on"]["total"] > 0
