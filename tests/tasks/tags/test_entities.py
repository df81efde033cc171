"""Entities of every scheme, and their scores, are those of seqeval, whose answers were recorded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recordings import recorded

from llmkit.system.errors import UserError
from llmkit.tasks.measures import f1_of_counts
from llmkit.tasks.tags.entities import Entity, entities, entity_counts, entity_scores

properties = settings(deadline=None, database=None)
RECORDED: list[list[Any]] = recorded("official_entity_scores.jsonl.gz")


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


@pytest.mark.parametrize("bad", ["PER", "b-PER", "X_PER", "O-PER", "", "-X-"])
def test_what_is_no_tag_is_named(bad: str) -> None:
    with pytest.raises(UserError, match="is not a tag of an entity scheme") as refusal:
        entity_scores([["O", "O"]], [["O", bad]])
    assert repr(bad) in str(refusal.value)


def test_sentences_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="sentence 1 has 1 predicted tags for 2 words"):
        entity_scores([["O"], ["O"]], [["O"], ["O", "O"]])
    for predictions, references in (([], []), ([["O"]], [["O"], ["O"]])):
        with pytest.raises(ValueError, match="references"):
            entity_counts(predictions, references)
