"""Notice answers that are scored by the rules of another language than their own."""

from __future__ import annotations

from collections.abc import Iterable

from llmkit.system.console import warn
from llmkit.tasks.languages import HAVE_SCRIPTS, is_english_like, language_by_script
from llmkit.tasks.span.sections import SpanData

_WITH_SPACES = {"ar", "hi", "ko"}  # of HAVE_SCRIPTS


def warn_of_another_language(answers: Iterable[str], data: SpanData) -> None:
    """Warn if the letters of the answers tell that their language is not that of `data`.

    `data.language` may be from a run that was trained on other data.
    """
    if data.answer_language != data.language:  # a configuration's name says it
        return
    texts, language = list(answers), data.language or "en"
    found = language_by_script(texts)
    if found is None and language in HAVE_SCRIPTS and _is_english(texts):
        found = "en"
    # Japanese names are often in Chinese characters alone.
    if found is None or found == language or {found, language} == {"zh", "ja"}:
        return
    if language != "en":
        differ = f"and are scored as {language}"
    elif found in _WITH_SPACES:
        differ = "whose articles and punctuation English scores do not know"
    else:
        differ = "and English scores split words only at spaces"
    than = "English" if language == "en" else f"data.language={language}"
    warn(f"the answers look like another language than {than}, {differ}; set data.language={found}")


def _is_english(texts: list[str]) -> bool:
    """Whether there are letters, and all are English: numbers alone tell nothing."""
    return is_english_like(texts) and any(map(str.isalpha, "".join(texts)))
