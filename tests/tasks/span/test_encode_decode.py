"""Windows against the library's own, and answers against an independent reading of where they are.

What is promised for an answer: training points at the tokens that share a character with it, in the windows
that hold all of these, and at [CLS] in the others. Whitespace and characters that the normalizer deletes
belong to no token, so at the ends of an answer they don't count, and an answer that begins inside a token is
taken to begin with it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec

SQUAD, SQUAD_V2 = TASKS["squad"], TASKS["squad_v2"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,?'", "the", "##th", "##s", "##a"]
CODEC: Any = None  # these answers need none
WINDOWS = SpanData(path="x", max_length=16, doc_stride=4)
# A quarter of the profile's number: 25, or thousands in `--hypothesis-profile=long`.
QUARTER = settings(max_examples=settings.default.max_examples // 4)


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def tokenizer(request: pytest.FixtureRequest) -> BertTokenizer:
    return BertTokenizer(vocab={piece: n for n, piece in enumerate(PIECES)}, do_lower_case=request.param)


def one(context: str, question: str, text: str = "", start: int = 0) -> Dataset:
    answers = {"text": [text] if text else [], "answer_start": [start] if text else []}
    return Dataset.from_list([{"id": "q", "context": context, "question": question, "answers": answers}])


# Letters of the vocabulary, words that are pieces of it, and what normalizers change: capitals, accents composed
# and combining, a ligature, controls and formats that are deleted, wide spaces, CJK and Hangul, an astral sign.
LIVELY = st.sampled_from(
    [*"abthes .,", "the", "the ths", "É", "é", "e\u0301", "ﬁ", "ß", "İ", "\u0301", "\x00", "\u200b"]
)
WIDE = st.sampled_from([" ", "\u3000", "\u2028", "\t\n", "漢字", "한국", "😀", "\ufffd", "[SEP]", "[CLS]"])
TEXT = st.lists(LIVELY | WIDE | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).map("".join)
SHORT = st.lists(LIVELY | WIDE, max_size=4).map("".join)


@QUARTER
@given(context=TEXT, question=SHORT)
@example(context="the " * 40, question="who?")
def test_windows_are_those_of_the_library(context: str, question: str, tokenizer: Any) -> None:
    """A passage that is tokenized once for all of its questions gives what a call of the tokenizer would."""
    asked = question.strip()
    assume(len(tokenizer(asked, add_special_tokens=False)["input_ids"]) < 16 - 3 - 4)
    before = tokenizer.backend_tokenizer.to_str()
    features = SQUAD.encode(one(context, question), Codec(tokenizer), WINDOWS, training=False)
    assert tokenizer.backend_tokenizer.to_str() == before, "the caller's tokenizer stays as it is"
    expected = BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=tokenizer.do_lower_case)(
        asked,
        context,
        truncation="only_second",
        max_length=16,
        stride=4,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert features["input_ids"][:] == expected["input_ids"]
    assert features["token_type_ids"][:] == expected["token_type_ids"]
    for number, offsets in enumerate(expected["offset_mapping"]):
        passage = [sequence == 1 for sequence in expected.sequence_ids(number)]
        places = [place if inside else (-1, -1) for place, inside in zip(offsets, passage, strict=True)]
        assert np.array(features["offsets"][number]).reshape(-1, 2).tolist() == [list(place) for place in places]


@QUARTER
@given(context=TEXT, data=st.data())
def test_training_points_at_the_tokens_of_the_answer(context: str, data: Any, tokenizer: Any) -> None:
    """Any stretch of the passage is the answer: also one that begins inside a token or with a deleted character."""
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, min(len(context), start + 8)))
    offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    # Two tokens of one character (of a Hangul syllable, say) can't be told apart by their place.
    assume(all(before[1] <= after[0] for before, after in pairwise(offsets)))
    answer = [n for n, (first, last) in enumerate(offsets) if first < end and last > start]

    question = "a b"
    features = SQUAD.encode(one(context, question, context[start:end], start), Codec(tokenizer), WINDOWS, training=True)
    room, before_passage = 16 - 3 - 2, 1 + 2 + 1  # [CLS] a b [SEP]
    for window, feature in enumerate(features):
        first = window * (room - WINDOWS.doc_stride)  # its number among the tokens of the passage
        held = answer and first <= answer[0] and answer[-1] < min(len(offsets), first + room)
        expected = [before_passage + answer[0] - first, before_passage + answer[-1] - first] if held else [0, 0]
        assert [feature["start_positions"], feature["end_positions"]] == expected


@QUARTER
@given(context=TEXT, data=st.data())
def test_an_answer_comes_back_from_any_window(context: str, data: Any, tokenizer: Any) -> None:
    """Logits that point at an answer's tokens, in every window that holds them, decode to its characters."""
    features = SQUAD.encode(one(context, "a b"), Codec(tokenizer), WINDOWS, training=False)
    places = [np.array(offsets).reshape(-1, 2) for offsets in features["offsets"]]
    window = data.draw(st.integers(0, len(features) - 1))
    tokens = np.flatnonzero(places[window][:, 0] >= 0)
    assume(len(tokens))
    first = data.draw(st.sampled_from(tokens.tolist()))
    last = data.draw(st.sampled_from([n for n in tokens.tolist() if n >= first]))
    start, end = places[window][first, 0], places[window][last, 1]
    outputs = [
        {
            "start_logits": np.where(offsets[:, 0] == start, np.float32(9), np.float32(0)),
            "end_logits": np.where(offsets[:, 1] == end, np.float32(9), np.float32(0)),
        }
        for offsets in places
    ]
    (prediction,) = SQUAD.decode(outputs, features, one(context, "a b"), CODEC, WINDOWS)
    assert (prediction.start, prediction.end) == (start, end)
    assert prediction.text == context[start:end]
    assert len({(c.start, c.end) for c in prediction.candidates}) == len(prediction.candidates)
    assert all(c.text == context[c.start : c.end] for c in prediction.candidates)
    assert sum(c.probability for c in prediction.candidates) == pytest.approx(1)


def test_the_best_window_gives_the_answer_and_the_least_sure_one_the_null_score(tokenizer: Any) -> None:
    examples = one("a b c d e f g h i j k l m n o p q r s t u v w x y z", "a b")
    features = SQUAD_V2.encode(examples, Codec(tokenizer), WINDOWS, training=False)
    assert len(features) == 4
    outputs = []
    for number, offsets in enumerate(features["offsets"]):
        logits = np.zeros((2, len(offsets) // 2), np.float32)
        logits[:, 4] = (1, 5, 3, 2)[number]  # the window's first token of the passage
        logits[:, 0] = (4, 3, 1, 9)[number]
        outputs.append({"start_logits": logits[0], "end_logits": logits[1]})
    (answered,) = SQUAD_V2.decode(outputs, features, examples, CODEC, WINDOWS)
    assert (answered.text, answered.candidates[0].score, answered.null_score) == ("h", 10.0, 2.0 - 10.0)
    (at,) = SQUAD_V2.decode(outputs, features, examples, CODEC, WINDOWS, threshold=-8.0)
    assert at.text == "h", "abstains above the threshold, not at it"
    (abstained,) = SQUAD_V2.decode(outputs, features, examples, CODEC, WINDOWS, threshold=-8.1)
    assert (abstained.text, abstained.start, abstained.candidates) == ("", None, answered.candidates)
    assert abstained.score + sum(c.probability for c in abstained.candidates) == pytest.approx(1)
    (never,) = SQUAD.decode(outputs, features, examples, CODEC, WINDOWS, threshold=-100.0)
    assert (never.text, never.null_score) == ("h", None), "a task without null answers never abstains"


def test_a_passage_of_deleted_characters_has_no_answer(tokenizer: Any) -> None:
    examples = one("\u200b\x00", "a b")
    for task, null_score in ((SQUAD, None), (SQUAD_V2, float(np.finfo(np.float32).max))):
        features = task.encode(examples, Codec(tokenizer), WINDOWS, training=False)
        logits = np.ones(features["length"][0], np.float32)
        (prediction,) = task.decode(
            [{"start_logits": logits, "end_logits": logits}], features, examples, CODEC, WINDOWS
        )
        assert (prediction.text, prediction.score, prediction.null_score) == ("", 0.0, null_score)


def test_a_question_just_fits_or_is_named(tokenizer: Any) -> None:
    """A window must move on by a token: 16 tokens, 3 of them special, an overlap of 4."""
    fits = SQUAD.encode(one("a b c d e f g h", "a b c d e f g h"), Codec(tokenizer), WINDOWS, training=False)
    assert len(fits) == 4, "windows of five that overlap by four"
    with pytest.raises(UserError, match="example q: its question takes 9 tokens, which leaves 4 of max_length 16"):
        SQUAD.encode(one("a b c d e f g h", "a b c d e f g h i"), Codec(tokenizer), WINDOWS, training=False)
    with pytest.raises(UserError, match="takes 30 tokens, which leaves 0 of max_length 16"):
        SQUAD.encode(one("a", "a " * 30), Codec(tokenizer), WINDOWS, training=False)


def test_a_tokenizer_that_pads_on_the_left_is_refused() -> None:
    left = BertTokenizer(vocab={piece: n for n, piece in enumerate(PIECES)}, padding_side="left")
    with pytest.raises(UserError, match="a BertTokenizer does not suit squad"):
        SQUAD.encode(one("a", "a"), Codec(left), WINDOWS, training=False)
