"""Words of a text in any script."""

from __future__ import annotations

import re
from collections.abc import Iterator

import regex

# Scripts that put no spaces between words. Each of their characters counts as a word, with the marks on it, as BERT
# treats Chinese.
_SYLLABLES = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}" + _SYLLABLES
# For the tokenizers library: a character of Thai and its like with the vowel signs and tones on it, and the accents of
# letters in decomposed text.
CLUSTERS = r"(?!\p{M})[" + _SYLLABLES + r"]\p{M}*"
ACCENTS = r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}])\p{Mn}+"
_JOINERS = r"\u200c\u200d"  # of Indic scripts and Persian
_MARKS = r"\p{M}" + _JOINERS  # accents and vowel signs too
_WORD = regex.compile(
    rf"(?P<character>[{UNSPACED}][{_MARKS}]*)"
    rf"|(?P<word>(?![{UNSPACED}{_JOINERS}])[\w\p{{M}}](?:(?![{UNSPACED}])[\w{_MARKS}])*)"
    # A whole grapheme cluster, such as a flag or a family of emoji. Control and format characters are no words.
    r"|(?P<symbol>(?![\w\s\p{Cc}\p{Cf}])\X)"
)


def word_places(text: str, *, symbols: bool = True) -> Iterator[tuple[int, int]]:
    """Yield (start, end), in characters, of each word of a text: a run of letters, digits and marks.

    In scripts without spaces each character is a word. With `symbols`, so is each punctuation mark and symbol. White
    space and characters that are not seen, such as U+200B, are in no word, unless they join its letters.
    """
    for match in _WORD.finditer(text):
        if symbols or match.lastgroup != "symbol":
            yield match.span()


def words(text: str) -> list[str]:
    """The words of a text, without punctuation and symbols."""
    return [text[start:end] for start, end in word_places(text, symbols=False)]


# Latin letters and usual punctuation: nothing that is joined to what is before it, and no number such as ½.
_UNUSUAL = re.compile(r"[^\x00-\u02ff\u2010-\u2027\u2030-\u203e\u20a0-\u20bf]|[\x80-\x9f\xad\xb2\xb3\xb9\xbc-\xbe]")
_USUAL = re.compile(r"\w+|[^\w\s\x00-\x1f\x7f]")


def tokens(text: str) -> list[str]:
    """The texts of `word_places`, with symbols: five times as fast where letters are Latin."""
    if _UNUSUAL.search(text) is None:
        return _USUAL.findall(text)
    return [text[start:end] for start, end in word_places(text)]
