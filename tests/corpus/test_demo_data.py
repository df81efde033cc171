"""The demo's articles and questions: reproducible, answerable by reading only, validation apart from training."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from llmkit.corpus.demo import names
from llmkit.corpus.demo.data import documents, questions
from llmkit.corpus.demo.wording import KINDS, PAIRS

MAKERS = (names.SURNAMES, names.TOWNS, names.SHIPS, names.COMPANIES)


def joined_names(makers: tuple[names.NameMaker, ...], *, held_out: bool) -> set[str]:
    return {
        beginning + ending
        for maker in makers
        for i, beginning in enumerate(maker.beginnings)
        for j, ending in enumerate(maker.endings)
        if ((i + j) % 4 == 0) == held_out
    }


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


TOWNS = joined_names((names.TOWNS,), held_out=False) | joined_names((names.TOWNS,), held_out=True)


def candidates(row: dict[str, Any]) -> list[tuple[int, str]]:
    """Where in the passage the values of the answer's type stand, found without the generator's help."""
    answer = row["answers"]["text"][0]
    if answer.isdigit():
        pattern = r"\d{4}"
    elif " " in answer:
        pattern = rf"(?:{'|'.join(names.GIVEN_NAMES)}) [A-Z]\w+"
    elif answer.lower() in names.GOODS:
        pattern = rf"(?i:\b(?:{'|'.join(names.GOODS)})\b)"
    else:
        found = [(match.start(), match.group()) for match in re.finditer(r"\b[A-Z]\w*", row["context"])]
        return [(start, name) for start, name in found if name in TOWNS and name != row["title"]]
    return [(match.start(), match.group()) for match in re.finditer(pattern, row["context"])]


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    return list(documents())


@pytest.fixture(scope="module")
def train() -> list[dict[str, Any]]:
    return questions("train")


@pytest.fixture(scope="module")
def validation() -> list[dict[str, Any]]:
    return questions("validation")


def test_every_process_draws_the_same_data_from_a_seed() -> None:
    program = (
        "import hashlib, itertools, json\n"
        "from llmkit.corpus.demo.data import documents, questions\n"
        "data = [list(itertools.islice(documents(3), 200)), questions('validation', 3)]\n"
        "found = hashlib.sha256(json.dumps(data).encode()).hexdigest()\n"
    )
    here: dict[str, Any] = {}
    exec(program, here)
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"{program}print(found)"],
        env={**os.environ, "PYTHONHASHSEED": "17"},  # here it is a random one
        check=True,
        capture_output=True,
        text=True,
    )
    assert elsewhere.stdout.strip() == here["found"]


def test_another_seed_draws_other_data(corpus: list[str], validation: list[dict[str, Any]]) -> None:
    def digest(data: object) -> str:
        return hashlib.sha256(json.dumps(data).encode()).hexdigest()

    assert digest(questions("validation", 1)) != digest(validation)
    assert next(documents(1)) != corpus[0]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_answers_are_spans_of_their_context(split: str, request: pytest.FixtureRequest) -> None:
    rows = request.getfixturevalue(split)
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        (text,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert text
        assert row["context"][start : start + len(text)] == text
        assert len(re.findall(rf"(?i:\b{text}\b)", row["context"])) == 1


@pytest.mark.parametrize("split", ["train", "validation"])
def test_second_candidate_says_what_the_passage_holds(split: str, request: pytest.FixtureRequest) -> None:
    rows = request.getfixturevalue(split)
    for row in rows:
        found = candidates(row)
        assert (row["answers"]["answer_start"][0], row["answers"]["text"][0]) in found
        assert len(found) == 2 if row["second_candidate"] else len(found) == 1, row
    assert sum(row["second_candidate"] for row in rows) > len(rows) / 2


def test_validation_names_are_in_no_training_text(
    corpus: list[str], train: list[dict[str, Any]], validation: list[dict[str, Any]]
) -> None:
    trained = {word for text in corpus for word in words(text)}
    trained |= {word for row in train for word in words(row["context"] + " " + row["question"])}
    validated = {word for row in validation for word in words(row["context"] + " " + row["question"])}
    held_out = joined_names(MAKERS, held_out=True)
    assert not trained & held_out
    assert not validated & joined_names(MAKERS, held_out=False)
    assert {row["title"] for row in validation} <= held_out
    fixed = trained - joined_names(MAKERS, held_out=False)
    assert validated - held_out <= fixed, "validation should ask in words that training has taught"


def test_position_does_not_give_the_answer_away(train: list[dict[str, Any]]) -> None:
    pairs = [row for row in train if row["second_candidate"]]
    first = sum(candidates(row)[0][0] == row["answers"]["answer_start"][0] for row in pairs)
    assert 0.45 < first / len(pairs) < 0.55
    sentence = Counter(row["context"][: row["answers"]["answer_start"][0]].count(". ") for row in pairs)
    assert max(sentence.values()) < 0.4 * len(pairs)


def test_every_relation_is_asked_in_each_of_its_wordings(train: list[dict[str, Any]]) -> None:
    asked = Counter(row["question"].replace(row["title"], "{e}").replace("the {e}", "{e}") for row in train)
    expected = {
        text[0].upper() + text[1:]
        for kind in KINDS
        for pair in PAIRS
        for relation in pair
        for text in (question.format(e="{e}", **kind.words) for question in relation.questions)
    }
    assert set(asked) == expected


def test_documents_tell_everything_twice(corpus: list[str]) -> None:
    exercises = [text for text in corpus if "The answer is " in text]
    assert 0.45 < len(exercises) / len(corpus) < 0.55
    for text in exercises:
        passage, answer = text.removesuffix(".").split(" The answer is ")
        assert answer.lower() in passage.lower()
    for text in set(corpus) - set(exercises):
        values = Counter(word for word in words(text.lower()) if word.isdigit() or word in names.GOODS)
        assert all(count == 2 for count in values.values()), text


def test_texts_are_clean_english(corpus: list[str], train: list[dict[str, Any]]) -> None:
    for text in [*corpus, *(row["context"] for row in train), *(row["question"] for row in train)]:
        assert text[-1] in ".?"
        assert not re.search(r"[{}]|  |[.?] [a-z]|\ba [aeiou]", text), text
