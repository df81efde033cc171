"""Changes of a question and its passage that leave the answer as it is. Texts → replacements by name of the text."""

from __future__ import annotations

import re

from llmkit.evidence.audit.drawing import Draw, one_of
from llmkit.tasks.editing import Changes, Replacement

QUESTION, PASSAGE = "question", "context"

_PEOPLE = ("Harold Finch", "Edna Marlow", "Simon Tully", "Agnes Birch", "Walter Nesbit", "Clara Hobson")
_TOWNS = ("Lindow", "Marchfield", "Ostrava Mills", "Kelby", "Dunmere", "Port Hallam")
_YEARS = ("1743", "1786", "1811", "1857", "1902", "1938")


def distractor(question: str, passage: str, draw: Draw) -> Changes:
    """One more sentence at the end of the passage: it has the words of the question, and a person, a place and a year,
    but answers nothing. Jia and Liang (2017) show that such sentences mislead readers."""
    asked = question.strip().rstrip("?.! ")
    year, town = (one_of([each for each in choices if each not in passage], draw) for choices in (_YEARS, _TOWNS))
    sentence = f"In {year}, {one_of(_PEOPLE, draw)} of {town} wondered: {asked}?"
    return {PASSAGE: [Replacement(len(passage), len(passage), ("" if passage[-1:].isspace() else " ") + sentence)]}


_VERB = r"(?= (?:did|do|does|was|were|is|are|has|have|had|can|could|will|would|should)\b)"
_TIME = r"(?:year|date|day|month|century|decade)\b"
_KINDS = (
    "kind|type|sort|name|city|country|state|town|river|language|company|team|group|person|people|book|film|song|game|"
    "award|event|war|religion|color|colour|organization|university|school"
)
# How a question begins, and how it begins then; the first that fits is taken.
_BEGINNINGS = [
    (re.compile(pattern, re.I), new)
    for pattern, new in (
        (rf"^what(?= {_TIME})(?= \w+{_VERB})", "in which"),
        (rf"^(?P<preposition>in|on|during) what(?= {_TIME})", "which"),
        (rf"^when{_VERB}", "at what time"),
        (rf"^where(?! .*\b(?:from|to)\b){_VERB}", "in which place"),
        (r"^who(?= (?:are|were|have)\b)", "which people"),
        (r"^whom?(?= \w)", "which person"),
        (rf"^why{_VERB}", "for what reason"),
        (r"^how many(?= \w)", "what number of"),
        (rf"^how much(?!{_VERB}| more| less)(?= \w)", "what amount of"),
        (rf"^how{_VERB}", "in what way"),
        (rf"^what(?= (?:{_KINDS})s?\b)", "which"),
        (r"^which(?= \w+)(?! (?:of|person|people)\b)", "what"),
    )
]


def other_question_word(question: str, passage: str, draw: Draw) -> Changes:
    """Who becomes which person, when at what time, how many what number of."""
    start = len(question) - len(question.lstrip())
    for pattern, new in _BEGINNINGS:
        if match := pattern.search(question[start:]):
            new = " ".join([*match.groupdict().values(), new])
            new = new[0].upper() + new[1:] if question[start].isupper() else new
            return {QUESTION: [Replacement(start, start + match.end(), new)]}
    return {}
