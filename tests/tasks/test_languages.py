"""What codes and letters tell of a language."""

from __future__ import annotations

import pytest

from llmkit.tasks.languages import is_english_like, language_by_script, language_of


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (["东港的灯塔"], "zh"),
        (["東京タワー", "猫は眠る"], "ja"),
        (["品牌の故事", "东港的灯塔在昨夜重新点亮"], "zh"),
        (["東京", "京都"], "zh"),  # nothing tells that this is Japanese
        (["서울 타워"], "ko"),
        (["สวัสดี", "A dog"], "th"),
        (["ສະບາຍດີ"], "lo"),
        (["សួស្តី"], "km"),
        (["မင်္ဂလာပါ"], "my"),
        (["مرحبا"], "ar"),
        (["मेले में"], "hi"),
        (["Маяк", "φάρος", "मेले", "مرحبا"], None),
        (["A dog in 東京"], None),
        (["1820", "!"], None),
        ([], None),
    ],
)
def test_a_script_tells_a_language(texts: list[str], language: str | None) -> None:
    assert language_by_script(texts) == language


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("a" * 99 + "é", True),
        ("a" * 98 + "éé", False),
        ("a" * 98 + "e\u0301", True),  # the accent is one character
        ("“a” — €1,820 🙂", True),  # only letters count
        ("Die Häuser über dem Fluß", False),
        ("", True),
    ],
)
def test_what_is_taken_for_english(text: str, english: bool) -> None:
    assert is_english_like([text]) == english


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("zh", "zh"),
        ("ZH-Hant-TW", "zh"),
        ("jpn_Jpan", "ja"),
        ("ger", "de"),
        ("chi", "zh"),
        ("bur", "my"),
        ("tib", "bo"),
        ("yue", "yue"),
        ("summary", None),
        ("z", None),
        ("", None),
    ],
)
def test_codes(code: str, language: str | None) -> None:
    assert language_of(code) == language
