"""Windows against the library's own, and answers that come back from them, for every family of tokenizers.

What is promised for an answer: training points at the tokens that share a character with it, in the windows that hold
all of these, and at [CLS] in the others. A model that has learned this gives the answer back: its characters, as whole
grapheme clusters, without white space at the ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import hypothesis
import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from support.spans import example, knowing, places_read
from support.tokenizer_families import FAMILIES, SENTENCES, tokenizer_of
from transformers import BertTokenizer

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.columns import Columns
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec, Prediction

SQUAD, SQUAD_V2 = TASKS["squad"], TASKS["squad_v2"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,?'", "the", "##th", "##s", "##a"]
CODEC: Any = None  # these answers need none
WINDOWS = SpanData(path="x", max_length=16, doc_stride=4)
LONGER = SpanData(path="x", max_length=24, doc_stride=6)
PASSAGES = 25  # at a time
# Shares of the profile's number, for each family: 10, and 2 times 25 passages; thousands in test_encode_decode_long.py.
FEW = settings(max_examples=settings.default.max_examples // 10)
MANY = settings(max_examples=settings.default.max_examples // 40)


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={piece: n for n, piece in enumerate(PIECES)})


@pytest.fixture(scope="module", autouse=True)
def _no_fingerprints() -> Iterator[None]:
    """Hashes of many small data sets would take most of the time."""
    with patch("datasets.arrow_dataset.generate_fingerprint", lambda dataset: "none"):
        yield


def one(context: str, question: str) -> Dataset:
    return Dataset.from_list([example(context, question)])


# Words of all scripts; where a script has no spaces, stretches of eight characters, which may begin with a mark.
WORDS = [
    word[start : start + 8]
    for sentence in SENTENCES.values()
    for word in sentence.split()
    for start in range(0, len(word), 8)
]
# What normalizers change or delete, what joins characters, white space of every width, and special tokens as text.
HARD = ["É", "e\u0301", "ﬁ", "ß", "İ", "\u0301", "\u200d", "\u0600", "\x00", "\ufffd", "漢字", "한국", "😀🚢", "🇫🇷"]
SPACES = ["", " ", "  ", "\u3000", "\xa0", "\u200b", "\r\n", "\u2028"]
PART = st.sampled_from(WORDS) | st.sampled_from([*HARD, "[SEP]", "</s>"]) | st.characters(exclude_categories=["Cs"])
TEXT = st.lists(st.tuples(PART, st.sampled_from(SPACES)).map("".join), min_size=1, max_size=10).map("".join)
NUMBER = st.integers(0, 100)


@pytest.mark.parametrize("family", FAMILIES)
@FEW
@given(context=TEXT, question=st.sampled_from(["", " a b ", "où?", "古い"]))
@hypothesis.example(context="the " * 40, question="who?")
def test_windows_are_those_of_the_library(family: str, context: str, question: str) -> None:
    """A passage that is tokenized once for all of its questions gives what a call of the tokenizer would."""
    tokenizer = tokenizer_of(family)
    before = tokenizer.backend_tokenizer.to_str()
    features = SQUAD.encode(one(context, question), Codec(tokenizer), LONGER, training=False)
    assert tokenizer.backend_tokenizer.to_str() == before, "the caller's tokenizer stays as it is"
    expected = deepcopy(tokenizer)(
        question.strip(),
        context,
        truncation="only_second",
        max_length=LONGER.max_length,
        stride=LONGER.doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    assert features["input_ids"][:] == expected["input_ids"]
    if "token_type_ids" in tokenizer.model_input_names:
        assert features["token_type_ids"][:] == expected["token_type_ids"]
    for number, offsets in enumerate(expected["offset_mapping"]):
        passage = [sequence == 1 for sequence in expected.sequence_ids(number)]
        places = [
            list((inside and place) or (-1, -1))
            for place, inside in zip(places_read(context, offsets), passage, strict=True)
        ]
        assert np.array(features["offsets"][number]).reshape(-1, 2).tolist() == places


@pytest.mark.parametrize("family", FAMILIES)
@MANY
@given(st.lists(st.tuples(TEXT, st.booleans(), NUMBER, NUMBER), min_size=PASSAGES, max_size=PASSAGES))
def test_answers_come_back(family: str, drawn: list[tuple[str, bool, int, int]]) -> None:
    """Any stretch of a passage is its answer: also one that begins in a token, or with a character in no token."""
    tokenizer = tokenizer_of(family)
    encoded = tokenizer([text for text, *_ in drawn], add_special_tokens=False, return_offsets_mapping=True)
    answers, rows = [], []
    for (context, whole, number, length), offsets in zip(drawn, encoded["offset_mapping"], strict=True):
        places = [place or (-1, -1) for place in places_read(context, offsets)]
        placed = [place for place in places if place[0] >= 0]
        if whole and placed:
            first = number % len(placed)
            start, end = placed[first][0], placed[first : first + 1 + length % 6][-1][1]
        else:
            start = number % len(context)
            end = min(len(context), start + 1 + length % 8)
        answers.append((places, whole and bool(placed), start, end))
        rows.append(example(context, "a b", (context[start:end], start), id=str(len(rows))))
    examples = Dataset.from_list(rows)
    targets = SQUAD.encode(examples, Codec(tokenizer), LONGER, training=True)
    features = SQUAD.encode(examples, Codec(tokenizer), LONGER, training=False)
    predictions = SQUAD.decode(knowing(features, targets), features, examples, CODEC, LONGER)
    held = {row for row, position in zip(targets["example"], targets["start_positions"], strict=True) if position}
    for number, (answer, prediction) in enumerate(zip(answers, predictions, strict=True)):
        check_answer(*answer, prediction if number in held else None)
        check_characters(drawn[number][0], prediction)


def check_answer(
    places: list[tuple[int, int]], whole: bool, start: int, end: int, prediction: Prediction | None
) -> None:
    """The prediction is all that tokens have of the answer; it is None only if no window can hold that."""
    touching = [place for place in places if place[0] < end and place[1] > start]
    if prediction is None:
        numbers = [number for number, place in enumerate(places) if place in touching]
        assert not touching or numbers[-1] - numbers[0] >= LONGER.doc_stride, "windows overlap by six tokens"
        return
    assert prediction.candidates[0].score == 20
    assert prediction.start is not None
    assert prediction.end is not None
    if whole:
        assert (prediction.start, prediction.end) == (start, end)
    assert touching[0][0] <= prediction.start <= max(touching[0][0], start)
    assert min(touching[-1][1], end) <= prediction.end <= touching[-1][1]


def check_characters(context: str, prediction: Prediction) -> None:
    """Candidates are stretches of the passage, of whole clusters, and differ."""
    clusters = [place for place in places_read(context, [(n, n + 1) for n in range(len(context))]) if place]
    starts, ends = ({cluster[side] for cluster in clusters} for side in (0, 1))
    for found in prediction.candidates:
        assert found.text == context[found.start : found.end] == found.text.strip().strip("\u200b") != ""
        assert found.start in starts, "begins inside a cluster"
        assert found.end in ends, "ends inside a cluster"
    assert len({(found.start, found.end) for found in prediction.candidates}) == len(prediction.candidates)


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
        row = {"id": "q", "text": "", "score": 0.0, "start": None, "end": None, "candidates": []}
        assert prediction.as_row() == row | ({} if null_score is None else {"null_score": null_score})


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


def test_examples_in_memory_give_the_same_features_and_predictions(tokenizer: BertTokenizer) -> None:
    rows = [example("the ship. " * repeats, "who?", id=str(repeats)) for repeats in (1, 5, 2)]
    stored = Dataset.from_list(rows)
    in_memory = Columns({name: [row[name] for row in rows] for name in ("id", "context", "question")})
    features = [SQUAD.encode(examples, Codec(tokenizer), WINDOWS, training=False) for examples in (stored, in_memory)]
    assert [len(found) for found in features] == [len(features[0])] * 2
    for name in features[0].column_names:
        for ours, theirs in zip(features[1][name], features[0][name], strict=True):
            assert np.array_equal(ours, theirs)
    random = np.random.default_rng(0)
    outputs = [
        dict(zip(("start_logits", "end_logits"), random.normal(size=(2, length)).astype(np.float32), strict=True))
        for length in features[0]["length"]
    ]
    found = [
        SQUAD.decode(outputs, part, examples, CODEC, WINDOWS)
        for part, examples in zip(features, (stored, in_memory), strict=True)
    ]
    assert found[0] == found[1]
    assert all(prediction.candidates for prediction in found[0])
