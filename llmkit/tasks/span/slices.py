"""Ways to cut questions into slices. The facts are those of the first gold answer, by rules that one can read.

Question words and types of answers are those of English text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from llmkit.corpus.words import words
from llmkit.tasks.languages import is_english_like
from llmkit.tasks.slices import Slicing, in_quarters, number_of_words

if TYPE_CHECKING:
    from datasets import Dataset

QUESTION_WORDS = ("who", "what", "which", "when", "where", "why", "how many", "how", "other")
_QUESTION_WORD = re.compile(r"\b(how (?:many|much)|who|whom|whose|what|which|when|where|why|how)\b")
_SAME = {"whom": "who", "whose": "who", "how much": "how many"}
THIRDS = ("first third", "middle third", "last third")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
SHARES = ("under 25 %", "25 to 50 %", "50 to 75 %", "75 % and more")
# Words that are in most questions or sentences, and say nothing about overlap.
_COMMON = re.compile(
    "an?|the|of|in|on|at|to|for|by|with|from|as|and|or|is|are|was|were|be|been|do|does|did|has|have|had|its?|that|this|these"
    "|those|who|whom|whose|what|which|when|where|why|how|many|much"
)
TYPES = ("date", "number", "name", "other")
SHORT = 5  # words of a date or a number at most
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_DATE = re.compile(
    rf"\b(?:(?:\d{{1,2}} )?(?:{_MONTHS})\b(?: \d{{1,2}}\b)?(?:,? \d{{4}})?|(?:{_DAYS})\b|1\d{{3}}s?\b|20\d\ds?\b)"
)
_WRITTEN = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|hundred|thousand|million|billion"
)
_NUMBER = re.compile(rf"\b(?:\d+(?:[.,]\d+)*|(?:{_WRITTEN})\b)", re.IGNORECASE)
_CAPITAL = r"[^\W\d_a-zà-ÿ][\w'’.-]*"
_LINK = "(?:of|the|de|la|van|von|and|for|in)"
_NAME = re.compile(rf"{_CAPITAL}(?: (?:{_LINK} ){{0,2}}{_CAPITAL})*")
CANDIDATES = ("1", "2 to 3", "4 to 7", "8 and more")
RULES = {
    "date": "up to five words, among them a month, a weekday or a year from 1000 to 2099",
    "number": "up to five words, among them a number, in digits or not",
    "name": "every word of more than three letters begins with a capital",
}


def slicings(examples: Dataset, *, null_answers: bool) -> Iterator[Slicing]:
    """The ways to cut questions. Those about answers leave out questions without one."""
    questions, contexts, answers = examples["question"][:], examples["context"][:], examples["answers"][:]
    golds = [_gold(found["text"], found["answer_start"]) for found in answers]
    if null_answers:
        yield Slicing("answer in the passage", ["yes" if gold else "no" for gold in golds], ("yes", "no"))
    english = is_english_like(questions)
    if english:
        found = [question_word(question) for question in questions]
        yield Slicing("question word", found, QUESTION_WORDS, "The first one in the question.")
        types = [answer_type(gold.text) if gold else None for gold in golds]
        rule = "; ".join(f"{name}: {rule}" for name, rule in RULES.items())
        yield Slicing("type of answer", types, TYPES, f"By the first of these rules that fits. {rule}.")
        yield Slicing(
            "candidates of the answer's type in the passage",
            [candidates_of(kind, context) if kind else None for kind, context in zip(types, contexts, strict=True)],
            CANDIDATES,
            "Different texts of the passage that are dates, numbers or names by the same rules.",
        )
    lengths = [len(words(gold.text)) if gold else np.nan for gold in golds]
    yield in_quarters("words of the answer", lengths)
    distinct = {
        context: number for context, number in zip(set(contexts), number_of_words([*set(contexts)]), strict=True)
    }
    yield in_quarters("words of the passage", [distinct[context] for context in contexts])
    yield Slicing(
        "place of the answer in the passage",
        [
            THIRDS[min(2, 3 * gold.start // len(text))] if gold else None
            for gold, text in zip(golds, contexts, strict=True)
        ],
        THIRDS,
    )
    yield Slicing(
        "words of the question in the answer's sentence",
        [
            overlap(question, context, gold.start) if gold else None
            for question, context, gold in zip(questions, contexts, golds, strict=True)
        ],
        SHARES,
        "The share of the question's words, without articles, prepositions, auxiliaries and question words.",
    )


class _Gold(NamedTuple):
    text: str
    start: int


def _gold(texts: Sequence[str], starts: Sequence[int]) -> _Gold | None:
    return _Gold(texts[0], starts[0]) if texts else None


def question_word(question: str) -> str:
    """The first question word, or `other`."""
    match = _QUESTION_WORD.search(question.lower())
    return _SAME.get(match[1], match[1]) if match else "other"


def answer_type(text: str) -> str:
    """What an answer looks like: one of TYPES."""
    found = words(text)
    if len(found) <= SHORT and _DATE.search(text):
        return "date"
    if len(found) <= SHORT and _NUMBER.search(text):
        return "number"
    long = [word for word in found if len(word) > 3] or found
    return "name" if long and all(word[0].isupper() for word in long) else "other"


@cache
def candidates_of(kind: str, context: str) -> str | None:
    """How many different texts of a passage are of a type, as one of CANDIDATES; None for `other`."""
    patterns = {"date": _DATE, "number": _NUMBER, "name": _NAME}
    if kind not in patterns:
        return None
    found = {match[0] for match in patterns[kind].finditer(context)}
    if kind == "number":
        found = {text for text in found if not _DATE.fullmatch(text)}
    if kind == "name":  # not the first word of a sentence, unless it goes on or is there again
        found -= {text for sentence in _sentences(context) for text in [sentence.split(" ")[0]] if " " not in text}
    return CANDIDATES[np.searchsorted((2, 4, 8), max(1, len(found)), side="right")]


def overlap(question: str, context: str, start: int) -> str | None:
    """The share of a question's words that are in the sentence at `start`, as one of SHARES; None without words."""
    asked = {word for word in words(question.lower()) if not _COMMON.fullmatch(word)}
    if not asked:
        return None
    end = 0
    for sentence in _sentences(context):
        end = context.index(sentence, end) + len(sentence)
        if end > start:
            there = set(words(sentence.lower()))
            return SHARES[min(3, int(4 * len(asked & there) / len(asked)))]
    return None


@cache
def _sentences(context: str) -> tuple[str, ...]:
    return tuple(sentence for sentence in _SENTENCE_END.split(context) if sentence)
