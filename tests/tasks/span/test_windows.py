"""Windows over passages, and answers that come back from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.spans import example, oracle, score_of

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS, task_named
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec

pytestmark = pytest.mark.oldest
SQUAD, SQUAD_V2 = TASKS["squad"], TASKS["squad_v2"]


@pytest.mark.parametrize("name", ["squad", "squad_v2"])
def test_contract(name: str, tokenizer: Any) -> None:
    """Gold answers become oracle logits, and those a score of 100."""
    long = "the ship sails. " * 20
    rows = [
        example("tom reed founded ambury.", "who?", ("tom reed", 0), id="a"),
        example(
            f"{long}it was 1820, they say.", "when?", ("1820", len(long) + 7), ("1820, they", len(long) + 7), id="b"
        ),
        example("the ships of émile", "whose?", ("émile", 13), id="c"),
    ]
    task = task_named(name)
    if name == "squad_v2":
        rows.append(example(long, "who knows?", id="d"))
    data = SpanData(path="x", max_length=64, doc_stride=16)
    predictions, examples = oracle(task, Dataset.from_list(rows), tokenizer, data)
    scores = score_of(task, predictions, examples)
    assert scores["exact_match"] == scores["f1"] == 100.0
    assert [p.id for p in predictions] == [row["id"] for row in rows]


words = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=7), min_size=1, max_size=60
).map(" ".join)


@settings(max_examples=settings.default.max_examples // 5)
@given(context=words, data=st.data())
def test_an_answer_that_a_window_holds_comes_back(context: str, data: Any, tokenizer: Any) -> None:
    """For an answer that begins and ends with a token, which is all that an extractive model can point at."""
    offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    offsets = [(start, end) for start, end in offsets if end > start]
    assume(offsets)
    first = data.draw(st.integers(0, len(offsets) - 1))
    last = data.draw(st.integers(first, min(len(offsets) - 1, first + 5)))
    start, end = offsets[first][0], offsets[last][1]
    assume(start < end)
    assume(context[start:end].strip())
    section = SpanData(path="x", max_length=32, doc_stride=10, max_answer_length=30)
    row = example(context, "who?", (context[start:end], start))
    predictions, _ = oracle(SQUAD, Dataset.from_list([row]), tokenizer, section)
    assume(predictions)  # several tokens may stand for one character, and then none of them for the answer
    (prediction,) = predictions
    windows = SQUAD.encode(Dataset.from_list([row]), Codec(tokenizer), section, training=True)
    held = any(position != 0 for position in windows["start_positions"])
    assert held, "with an overlap of 10 tokens, some window holds an answer of up to 6"
    assert context[prediction.start : prediction.end] == prediction.text
    # Neighbouring tokens may share characters (one character can normalise into several tokens).
    assert prediction.start <= start
    assert prediction.end >= end
    if sum(1 for a, b in offsets if a < end and b > start) == last - first + 1:
        assert prediction.text == context[start:end]


def test_windows_cover_the_passage(tokenizer: Any) -> None:
    context = " ".join(f"word {n}." for n in range(60))
    section = SpanData(path="x", max_length=40, doc_stride=12)
    features = SQUAD.encode(Dataset.from_list([example(context, "who?")]), Codec(tokenizer), section, training=False)
    assert len(features) > 3
    covered = np.zeros(len(context), bool)
    for window in features:
        assert window["length"] == len(window["input_ids"]) <= 40
        for start, end in np.array(window["offsets"]).reshape(-1, 2):
            if start >= 0:
                covered[start:end] = True
    assert all(covered[n] or context[n].isspace() for n in range(len(context)))


def test_training_windows_without_the_answer_point_at_cls(tokenizer: Any) -> None:
    context = "tom " + "the ship " * 40
    section = SpanData(path="x", max_length=32, doc_stride=8)
    features = SQUAD.encode(
        Dataset.from_list([example(context, "who?", ("tom", 0))]), Codec(tokenizer), section, training=True
    )
    assert features["start_positions"][0] > 0
    assert set(features["start_positions"][1:]) == {0}


def test_no_room_for_the_passage_is_said(tokenizer: Any) -> None:
    section = SpanData(path="x", max_length=32, doc_stride=16)
    rows = [example("a b c", "who is it? " * 10, ("a", 0), id="long-one")]
    with pytest.raises(UserError, match="example long-one: its question takes"):
        SQUAD.encode(Dataset.from_list(rows), Codec(tokenizer), section, training=False)
