"""People in texts: find their first names, put other names in their places, and change their pronouns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from llmkit.evidence.audit.word_lists import MEN, OF_NAME, WOMEN, WORDS, WORDS_TOO
from llmkit.tasks.editing import Replacement, Texts

_WORD = re.compile(r"(?<![\w'’-])[^\W\d_]+(?:-[^\W\d_]+)*(?![\w-])")
_BY_LOWER = {name.lower(): name for name in OF_NAME}


def names_in(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """The first names in a text, each with its form in the lists. They begin with a capital, unless the text has
    none."""
    capitals = text != text.lower()
    for match in _WORD.finditer(text):
        name = _BY_LOWER.get(match[0].lower())
        if name is None:
            continue
        written = match[0][0].isupper() if capitals else name.lower() not in WORDS_TOO
        if written:
            yield match, name


def renamed(texts: Iterable[str], other: Callable[[str, frozenset[str]], str]) -> dict[str, str]:
    """A new name for each first name in the texts. `other` gives one, from a name and the names that are taken.

    So two people do not become one.
    """
    found = dict.fromkeys(name for text in texts for _, name in names_in(text))
    new: dict[str, str] = {}
    for name in found:
        new[name] = other(name, frozenset({*found, *new.values()} - {name}))
    return {name: its for name, its in new.items() if its != name}


def with_names(text: str, new: Mapping[str, str]) -> list[Replacement]:
    """Put the new names in the places of the old ones, in the same case."""
    return [
        Replacement(*match.span(), in_case_of(match[0], new[name])) for match, name in names_in(text) if name in new
    ]


def follow(texts: Texts) -> bool:
    """Whether the names in the inputs can be changed in a gold text too: a translation must have the same ones."""
    inputs = Counter(name for text in texts.inputs.values() for _, name in names_in(text))
    golds = (Counter(name for _, name in names_in(gold)) for gold in texts.gold.values())
    return not texts.translated or all(gold == inputs for gold in golds)


def in_case_of(old: str, new: str) -> str:
    """The new word in small letters, capitals, or with a first capital, as the old one is."""
    if old.islower():
        return new.lower()
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[0].upper() + new[1:]


_PAIRS = (*WORDS, ("he", "she"))
_TITLES = {"mr": MEN, "ms": WOMEN, "mrs": WOMEN, "miss": WOMEN}
_BEFORE_NAME = re.compile(r" ?\.|\s+[A-Z]")
# What follows "her" where it is "him", and "his" where it is "hers": no noun can begin with these.
_NO_NOUN = re.compile(
    r"\s*(?:$|[^\w\s'’\"“(]|(?:a|about|after|again|all|along|and|are|as|at|away|back|because|been|before|but|by|can|could|"
    r"did|do|does|down|for|from|had|has|have|here|how|if|in|into|is|it|just|may|might|never|not|now|of|off|on|or|out|over|"
    r"since|so|than|that|the|then|there|these|they|this|those|though|through|to|today|too|until|up|was|we|were|what|when|"
    r"where|which|while|who|why|will|with|without|would|yesterday|you)\b)",
    re.I,
)  # fmt: skip


def in_gender(text: str, gender: int) -> list[Replacement]:
    """Pronouns and words for people in one gender; names are for `with_names`.

    "Her" is "him" and "his" is "hers" before the end of a clause and before a word that no noun phrase after a
    possessive begins with ("with her in", "a friend of his, who"), else they are "his" and "her".
    """
    to = {pair[1 - gender]: pair[gender] for pair in _PAIRS}
    found = []
    for match in _WORD.finditer(text):
        word = match[0].lower()
        alone = _NO_NOUN.match(text, match.end()) is not None
        if word in _TITLES:  # not in "5 ms", nor in "I miss him"
            named = (match[0] != "miss") and _BEFORE_NAME.match(text, match.end())
            new = ("mr", "ms")[gender] if named and _TITLES[word] != gender else None
        elif gender == MEN:
            new = {"her": "him" if alone else "his", "hers": "his"}.get(word, to.get(word))
        else:
            new = {"him": "her", "his": "hers" if alone else "her"}.get(word, to.get(word))
        if new is not None:
            found.append(Replacement(*match.span(), in_case_of(match[0], new)))
    return found
