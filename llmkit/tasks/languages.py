"""Languages of texts: codes such as `zh`, and what the letters of texts tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

import regex
from pydantic import AfterValidator

# Three-letter codes (ISO 639-2 and 639-3, as in FLORES' `zho_Hans`) of the languages that have scores of their own.
_LONG = {
    "ara": "ar", "arb": "ar", "bod": "bo", "bur": "my", "chi": "zh", "cmn": "zh", "deu": "de", "eng": "en",
    "ger": "de", "hin": "hi", "jpn": "ja", "khm": "km", "kor": "ko", "lao": "lo", "mya": "my", "spa": "es",
    "tha": "th", "tib": "bo", "vie": "vi", "zho": "zh",
}  # fmt: skip
_CODE = re.compile(r"([a-z]{2,3})([-_][a-z0-9]+)*", re.IGNORECASE)

_A_TO_Z = re.compile(r"[A-Za-z]+")
_ASCII = re.compile(r"[\x00-\x7f]+")
_NO_LETTERS = regex.compile(r"[^\p{L}\p{M}]+")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]+")
_CHINESE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]+")
# Scripts that tell the language of most texts: Arabic's and Hindi's have others too.
_SCRIPTS = {
    "ar": regex.compile(r"\p{Arabic}+"),
    "hi": regex.compile(r"\p{Devanagari}+"),
    "ko": regex.compile(r"\p{Hangul}+"),
    "th": regex.compile(r"\p{Thai}+"),
    "lo": regex.compile(r"\p{Lao}+"),
    "km": regex.compile(r"\p{Khmer}+"),
    "my": regex.compile(r"\p{Myanmar}+"),
    "bo": regex.compile(r"\p{Tibetan}+"),
}


def language_of(code: str) -> str | None:
    """The language of a code: `zh` for `zh`, `zh-Hant`, `zh_CN` and `zho_Hans`. None if it has not a code's form."""
    match = _CODE.fullmatch(code)
    return _LONG.get(match[1].lower(), match[1].lower()) if match else None


def _checked(code: str) -> str:
    language = language_of(code)
    if language is None:
        raise ValueError(f"{code!r} is not a language code; give one such as en, de or zh")
    return language


# The language of a recipe's key, without a region or script.
Language = Annotated[str, AfterValidator(_checked)]


HAVE_SCRIPTS = {"zh", "ja", *_SCRIPTS}  # languages that `language_by_script` tells


def language_by_script(texts: Iterable[str]) -> str | None:
    """The language that the script of most letters tells: Chinese, Japanese, Arabic and some more; else None."""
    english, others = _letters(texts)
    half = (english + len(others)) / 2
    if (chinese := _count(_CHINESE, others)) > half:
        # Japanese is about half kana. Chinese has one here and there, in names.
        return "ja" if _count(_KANA, others) > chinese / 10 else "zh"
    return next((language for language, script in _SCRIPTS.items() if _count(script, others) > half), None)


def is_english_like(texts: Iterable[str]) -> bool:
    """Whether at most one letter in a hundred is outside a-z. English borrows fewer; German and French need more."""
    english, others = _letters(texts)
    return len(others) <= 0.01 * (english + len(others))


def _letters(texts: Iterable[str]) -> tuple[int, str]:
    """The number of letters from a to z, and all other letters, with their marks."""
    text = "".join(texts)
    return _count(_A_TO_Z, text), _NO_LETTERS.sub("", _ASCII.sub("", text))


def _count(pattern: re.Pattern[str] | regex.Pattern[str], text: str) -> int:
    """The characters of a text in runs of the pattern."""
    return sum(map(len, pattern.findall(text)))
