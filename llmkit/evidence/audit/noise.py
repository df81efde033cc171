"""Noise that a person reads over: typing errors, case, punctuation, contractions. Text → replacements.

Each function takes a text, random numbers in [0, 1), and the places to leave alone (an answer, which must stay what it
is). The same text and numbers give the same replacements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from llmkit.evidence.audit.drawing import Draw, one_of
from llmkit.tasks.editing import Place, Replacement

TYPOS = 0.1  # the share of words with a typing error


class Noise(Protocol):
    """Text, random numbers, places to leave alone → replacements."""

    def __call__(self, text: str, draw: Draw, kept: Sequence[Place]) -> list[Replacement]:
        """See above."""


_WORD = re.compile(r"[^\W\d_]{4,}")  # shorter words are often no longer words with an error in them
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # of an American keyboard


def _neighbours() -> dict[str, str]:
    """The letters beside each letter of the keyboard: in its row, and above and below."""
    # Each row is half a key to the right of the one above it.
    at = {letter: (row, column + row / 2) for row, keys in enumerate(_ROWS) for column, letter in enumerate(keys)}
    return {
        letter: "".join(
            other for other, (their_row, their_x) in at.items() if abs(their_row - row) + abs(their_x - x) in (1, 1.5)
        )
        for letter, (row, x) in at.items()
    }


_BESIDE = _neighbours()


def typos(text: str, draw: Draw, kept: Sequence[Place]) -> list[Replacement]:
    """One error in a tenth of the words of four letters or more, and in at least one: a neighbouring key, two letters
    swapped, or one left out. The first letter stays. Only alphabets with capitals have such words here."""
    words = [each.span() for each in _WORD.finditer(text) if _is_free(each.span(), kept)]
    words = [(start, end) for start, end in words if _is_cased(text[start:end])]
    if not words:
        return []
    chosen = [word for word in words if draw() < TYPOS] or [one_of(words, draw)]
    return [_typo(text, *word, draw) for word in chosen]


def _is_cased(word: str) -> bool:
    """Whether it is of letters alone (¹ is none), of an alphabet with capitals."""
    return word.isalpha() and word.lower() != word.upper()


def _typo(text: str, start: int, end: int, draw: Draw) -> Replacement:
    at = start + 1 + int(draw() * (end - start - 1))
    kind, letter = int(draw() * 3), text[at]
    if kind == 0 and letter.lower() in _BESIDE:
        other = one_of(_BESIDE[letter.lower()], draw)
        return Replacement(at, at + 1, other.upper() if letter.isupper() else other)
    if kind == 1:
        first = min(at, end - 2)
        if text[first] != text[first + 1]:
            return Replacement(first, first + 2, text[first + 1] + text[first])
    return Replacement(at, at + 1, "")


def lower_case(text: str, draw: Draw, kept: Sequence[Place]) -> list[Replacement]:
    """All letters small, those of answers too: scores of answers ignore case."""
    return _in_case(text, str.lower)


def upper_case(text: str, draw: Draw, kept: Sequence[Place]) -> list[Replacement]:
    """All letters capital, those of answers too."""
    return _in_case(text, str.upper)


def _in_case(text: str, case: Callable[[str], str]) -> list[Replacement]:
    found = []
    for match in re.finditer(r"\S+", text):
        word, start = match[0], match.start()
        changed = case(word)
        if len(changed) == len(word):
            found.append(Replacement(*match.span(), changed))
        else:  # ß becomes SS: letter by letter, so that places inside the word stay exact
            found += [Replacement(start + n, start + n + 1, case(letter)) for n, letter in enumerate(word)]
    return found


_MARKS = r"[.,;:!?\"“”()…。，、；：！？「」（）]"
_MARK = re.compile(rf"(?<!\d){_MARKS}|{_MARKS}(?!\d)")  # not those inside a number


def no_punctuation(text: str, draw: Draw, kept: Sequence[Place]) -> list[Replacement]:
    """Without . , ; : ! ? quotation marks and brackets, but for the point of a number."""
    return [Replacement(*place, "") for place in _marks(text, kept)]


def more_punctuation(text: str, draw: Draw, kept: Sequence[Place]) -> list[Replacement]:
    """The same marks twice each."""
    return [Replacement(start, end, text[start:end] * 2) for start, end in _marks(text, kept)]


def _marks(text: str, kept: Sequence[Place]) -> Iterator[Place]:
    return (each.span() for each in _MARK.finditer(text) if _is_free(each.span(), kept))


# A space before the apostrophe, as in texts that were cut into words: it 's, do n't.
_IRREGULAR = {"ca": "can", "wo": "will", "sha": "shall"}
_SHORT_NOT = re.compile(
    r"\b(ca|wo|sha|is|are|was|were|do|does|did|has|have|had|could|would|should|must)( ?)n['’]t\b", re.I
)
_SHORT = re.compile(r"\b(it|he|she|that|there|what|where|who|how|i|you|we|they)( ?)['’](s|re|ll|ve|m)\b", re.I)
_LONG_OF = {"s": "is", "re": "are", "ll": "will", "ve": "have", "m": "am"}
_HAS = re.compile(
    r"\s+(?:\w+ly\s+|(?:never|always|ever|just|already)\s+)?(?:been|got|had|become|gone|taken|made|done)\b", re.I
)
_LONG_NOT = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should)( )not\b(?= \w)", re.I)
# Only before another word: nobody writes "yes, it's.". Not before "not", which is shortened instead.
_NO_NOT = r"(?!not\b|n['’]t\b)"
_LONG = [
    (re.compile(rf"\b({subjects})( {verb})\b(?= {following}\w)", re.I), short)
    for subjects, verb, short, following in (
        ("it|he|she|that|there|what|where|who", "is", "'s", _NO_NOT),
        ("you|we|they", "are", "'re", _NO_NOT),
        ("i", "am", "'m", ""),
        ("it|he|she|i|you|we|they", "will", "'ll", _NO_NOT),
    )
]


def contractions(text: str, draw: Draw, kept: Sequence[Place]) -> list[Replacement]:
    """It's becomes it is, and it is becomes it's; so for all verbs and for not, where only one reading is possible."""
    found: list[Replacement] = []
    taken = list(kept)
    for each in sorted([*_expanded(text), *_contracted(text)]):
        if _is_free((each.start, each.end), taken):  # "that is n't" is read in one way alone
            found.append(each)
            taken.append((each.start, each.end))
    return found


def _expanded(text: str) -> Iterator[Replacement]:
    for match in _SHORT_NOT.finditer(text):
        verb = _IRREGULAR.get(match[1].lower(), match[1])
        verb = verb.capitalize() if match[1][0].isupper() else verb
        yield Replacement(match.start(), match.end(), f"{verb}not" if verb.lower() == "can" else f"{verb} not")
    for match in _SHORT.finditer(text):
        long = "has" if match[3].lower() == "s" and _HAS.match(text, match.end()) else _LONG_OF[match[3].lower()]
        yield Replacement(match.end(1), match.end(), f" {long}")


def _contracted(text: str) -> Iterator[Replacement]:
    for match in _LONG_NOT.finditer(text):
        yield Replacement(match.end(1), match.end(), "n't")
    for pattern, short in _LONG:
        for match in pattern.finditer(text):
            yield Replacement(match.end(1), match.end(), short)


def _is_free(place: Place, kept: Sequence[Place]) -> bool:
    """Whether no place to leave alone shares a character with this one."""
    return not any(place[0] < end and start < place[1] for start, end in kept)
