"""Normalize answers in languages other than English, as MLQA's official script v1 does (Lewis et al. 2020).

Each normalizer lowercases a text, removes punctuation and articles, and joins its words by single spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import regex

from llmkit.corpus.words import word_places

Normalize = Callable[[str], str]

# Unicode's punctuation, and ASCII's symbols, which Python counts as punctuation.
_PUNCTUATION = regex.compile(r"[\p{P}$+<=>^`|~]")
_HAN = re.compile(r"[\u4e00-\u9fa5]")  # MLQA's range: without the extensions of Unicode
# The languages of MLQA. Where a word is given, it is removed as a whole; Arabic's article is joined to its noun.
_ARTICLES = {
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
    "ar": re.compile("ال"),
    "hi": None,
    "zh": None,
}


def is_in_mlqa(language: str) -> bool:
    """Whether MLQA's script covers the language."""
    return language in _ARTICLES


def normalizer(language: str) -> Normalize:
    """The normalization of a language: MLQA's, if it has the language.

    Otherwise no word counts as an article, and each character of a script without spaces is a word.
    """
    return partial(_mlqa, language=language) if is_in_mlqa(language) else _unicode


def _mlqa(text: str, language: str) -> str:
    bare = _PUNCTUATION.sub("", text.lower())
    articles = _ARTICLES[language]
    if articles is not None:
        bare = articles.sub(" ", bare)
    if language == "zh":
        bare = _HAN.sub(r" \g<0> ", bare)
    return " ".join(bare.split())


def _unicode(text: str) -> str:
    bare = " ".join(_PUNCTUATION.sub("", text.lower()).split())
    return " ".join(bare[start:end] for start, end in word_places(bare))
