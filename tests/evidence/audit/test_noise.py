"""The suite of changes: always the same, answers and tags follow, and each does what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmkit.evidence.audit import noise, questions
from llmkit.evidence.audit.drawing import stream
from llmkit.evidence.audit.suite import SUITE
from llmkit.tasks import task_named
from llmkit.tasks.editing import Edited, Texts

WORDS = (
    "it's", "it is", "Tom Reed", "Ada", "in 1820", "3.5", "1,024", "do not", "said:", "(Ambury)", "ß", "İzmir", "“so”",
    "that is n't", "😀", "何", "who", "he", "her hat", "can't",
)  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), min_size=1, max_size=12).map(" ".join)
BY_NAME = {change.name: change for change in SUITE}


def changed(function: Callable[..., Any], text: str, *names: str) -> str:
    return Edited.of(text, function(text, stream(*names), [])).text


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    """A question on a passage with an answer, which may be any part of it that is not blank."""
    passage = draw(texts.filter(lambda text: bool(text.strip())))
    start = draw(st.integers(0, len(passage) - 1))
    end = draw(st.integers(start + 1, len(passage)))
    if not passage[start:end].strip():
        start, end = 0, len(passage)
    answers = {"text": [passage[start:end]], "answer_start": [start]}
    question = draw(
        st.sampled_from(["Who was it?", "In what year did Ada sail?", "when did it end?", "How many?", "x"])
    )
    return {"id": "q", "title": "", "context": passage, "question": question, "answers": answers}


@given(asked(), st.sampled_from(SUITE))
def test_answers_follow_every_change(row: dict[str, Any], change: Any) -> None:
    task = task_named("squad")
    edits = change.edits(task.editor.texts(row), "q")
    assert edits == change.edits(task.editor.texts(row), "q")
    new = task.editor.edited(row, edits)
    if new is None:
        return
    (text,), (start,) = new["answers"]["text"], new["answers"]["answer_start"]
    assert new["context"][start : start + len(text)] == text
    if change.name in ("typos", "no punctuation", "more punctuation", "contractions", "distractor", "question word"):
        assert text == row["answers"]["text"][0]  # noise leaves the answer alone
    if "case" in change.name:
        assert text.lower() in (row["answers"]["text"][0].lower(), row["answers"]["text"][0].upper().lower())


@given(st.lists(st.tuples(st.sampled_from([*WORDS, "a", ",", "St.", "U.S."]), st.sampled_from(["O", "B-PER", "I-PER"])),
                min_size=1, max_size=8), st.sampled_from(SUITE))  # fmt: skip
def test_words_keep_their_tags(pairs: list[tuple[str, str]], change: Any) -> None:
    """Entities stay what they are: as many words with each tag as before, in the same order."""
    task = task_named("ner")
    pairs = [(part, tag) for word, tag in pairs for part in word.split()]
    row = {"id": "s", "tokens": [word for word, _ in pairs], "tags": [tag for _, tag in pairs], "text": None}
    edits = change.edits(task.editor.texts(row), "s")
    new = task.editor.edited(row, edits) if edits else None
    if new is not None:
        assert len(new["tokens"]) == len(new["tags"])
        assert [tag for tag in new["tags"] if tag != "O"] == [tag for _, tag in pairs if tag != "O"]
        assert all(word and not word.isspace() for word in new["tokens"])


@given(texts, st.sampled_from([change for change in SUITE if change.name not in ("distractor", "question word")]))
def test_a_change_is_the_same_each_time(text: str, change: Any) -> None:
    first, second = (change.edits(Texts({"text": text}), "id") for _ in range(2))
    assert first == second


def test_the_numbers_of_a_stream_are_recorded() -> None:
    """They are the same on every machine and in every Python: audits of different days can be compared."""
    draw = stream("typos", "q1")
    assert [round(draw(), 6) for _ in range(3)] == RECORDED


RECORDED = [0.222054, 0.034784, 0.176265]


@given(texts)
@example("said: ¹AAA")  # ¹ is a word character, but no letter
def test_typos_leave_most_of_a_text_alone(text: str) -> None:
    found = noise.typos(text, stream("t"), [])
    assert all(each.end - each.start <= 2 and len(each.text) <= 2 for each in found)
    for each in found:
        assert text[each.start - 1].isalpha()  # not the first letter of a word


def test_neighbouring_keys() -> None:
    assert set(noise._BESIDE["g"]) == set("fhtyvb")
    assert set(noise._BESIDE["q"]) == set("wa")
    assert set(noise._BESIDE["m"]) == set("njk")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("It's late.", "It is late."),
        ("it's been late", "it has been late"),
        ("I don't, he can't, she won't.", "I do not, he cannot, she will not."),
        ("Can't we?", "Cannot we?"),
        ("they're here and we’ve won", "they are here and we have won"),
        ("it 's fine , they do n't mind", "it is fine , they do not mind"),
        ("It is late and they are here.", "It's late and they're here."),
        ("I am not sure it is", "I'm not sure it is"),
        ("She did not go.", "She didn't go."),
        ("it is not so", "it isn't so"),
        ("Tom's hat, the car's door, let's go", "Tom's hat, the car's door, let's go"),
        ("Whether it is, or is not, who knows", "Whether it is, or is not, who knows"),
    ],
)
def test_contractions(before: str, after: str) -> None:
    assert changed(noise.contractions, before) == after


def test_punctuation() -> None:
    text = 'At 3.5 m, "Tom" said: 1,024 (or so)!'
    assert changed(noise.no_punctuation, text) == "At 3.5 m Tom said 1,024 or so"
    assert changed(noise.more_punctuation, "It's so, Tom.") == "It's so,, Tom.."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("What year did it end?", "In which year did it end?"),
        ("In what year did it end?", "In which year did it end?"),
        ("on what date was it?", "on which date was it?"),
        ("Who founded Ambury?", "Which person founded Ambury?"),
        ("Who were the founders?", "Which people were the founders?"),
        ("When did it end?", "At what time did it end?"),
        ("Where did he come from?", "Where did he come from?"),
        ("Where is it?", "In which place is it?"),
        ("How many ships sank?", "What number of ships sank?"),
        ("How much did it cost?", "How much did it cost?"),
        ("How much money was lost?", "What amount of money was lost?"),
        ("What city is it?", "Which city is it?"),
        ("What is it?", "What is it?"),
        ("Which of them left?", "Which of them left?"),
    ],
)
def test_question_words(before: str, after: str) -> None:
    edits = Texts({"question": before}).edited(questions.other_question_word(before, "", stream("q")))
    assert (edits["question"].text if edits else before) == after


def test_a_distractor_has_the_words_of_the_question() -> None:
    edits = BY_NAME["distractor"].edits(Texts({"question": "Who left? ", "context": "Tom left in 1743."}), "q")
    added = edits["context"].text.removeprefix("Tom left in 1743. ")
    assert added.endswith(" wondered: Who left?")
    assert "1743" not in added  # nothing that the passage has


def test_a_number_changes_everywhere() -> None:
    row = Texts({"question": "What was in 1820?", "context": "In 1820 a ship, in 1821 two; again 1820."},
                kept={"context": [(3, 7)]})  # fmt: skip
    edits = BY_NAME["numbers"].edits(row, "q")
    new = edits["context"].text[3:7]
    assert new != "1820"
    assert new.startswith("18")
    assert edits["question"].text == f"What was in {new}?"
    assert edits["context"].text == f"In {new} a ship, in 1821 two; again {new}."


def test_a_number_that_a_translation_has_in_words_stays() -> None:
    def edits(target: str, *, translated: bool) -> dict[str, Edited]:
        texts = Texts({"source": "2 dogs"}, gold={"target": target}, translated=translated)
        return BY_NAME["numbers"].edits(texts, "t")

    assert not edits("zwei Hunde", translated=True)
    found = edits("2 Hunde", translated=True)
    assert found["source"].text[0] == found["target"].text[0] != "2"
    assert set(edits("dogs", translated=False)) == {"source"}  # of a summary


def test_names_change_everywhere() -> None:
    row = Texts(
        {"question": "Who is Reed?", "context": "Tom Reed met Ada. Reed's hat fell; TOM laughed. Tommy did not."}
    )
    edits = BY_NAME["names"].edits(row, "q")
    words = edits["context"].text.replace("'s", "").replace(".", "").replace(";", "").split()
    assert words[0] not in ("Tom", "Ada")
    assert words[1] == words[4] == edits["question"].text.removeprefix("Who is ").rstrip("?") != "Reed"
    assert words[7] == words[0].upper()
    assert words[9] == "Tommy"
