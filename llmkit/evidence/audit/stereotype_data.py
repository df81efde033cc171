"""CrowS-Pairs and StereoSet, from the Hub or from files: sentences with and without a stereotype.

CrowS-Pairs (Nangia et al. 2020), as its own .csv or the Hub's rows have it:

    {"sent_more": "…", "sent_less": "…", "stereo_antistereo": "stereo", "bias_type": "gender"}

`sent_more` is the sentence that stereotypes more. StereoSet (Nadeem et al. 2021), its intrasentence part, as rows or as
its own dev.json, {"data": {"intrasentence": […]}}:

    {"id": "…", "target": "…", "bias_type": "gender", "context": "Girls are BLANK.",
     "sentences": [{"sentence": "Girls are soft.", "gold_label": "stereotype"}, …]}
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmkit.recipes.finetuning import DataSection
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text
from llmkit.tasks.rows.formats import file_rows
from llmkit.tasks.rows.hub import hub_rows
from llmkit.tasks.values import LocatedRow

T = TypeVar("T")

# The repository of CrowS-Pairs has a loading script, which `datasets` no longer runs; this branch is the Hub's own
# conversion of it.
_CROWS_PAIRS = DataSection(path="nyu-mll/crows_pairs", name="crows_pairs", revision="refs/convert/parquet")
_STEREOSET = DataSection(path="McGill-NLP/stereoset", name="intrasentence")
_BLANK = "BLANK"
_LABELS = ("anti-stereotype", "stereotype", "unrelated")  # in the order of their numbers on the Hub


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in few words. `against` if the other one goes against a stereotype, instead of this one
    stating one."""

    more: str
    less: str
    against: bool
    bias: str


@dataclass(frozen=True)
class Cloze:
    """A sentence with the place of a word, `BLANK`, and words for it by label: a stereotype, its opposite, nonsense."""

    context: str
    words: Mapping[str, str]
    target: str
    bias: str


def crows_pairs(file: Path | None) -> list[Pair]:
    """The pairs of a file, or of the Hub. Raises UserError."""
    columns = ("sent_more", "sent_less", "stereo_antistereo", "bias_type")
    rows = file_rows(file, columns) if file is not None else hub_rows(_CROWS_PAIRS, "test")
    return _read(rows, _pair, file, "CrowS-Pairs, " + ", ".join(columns))


def _pair(row: Mapping[str, Any]) -> Pair:
    more, less, direction = str(row["sent_more"]), str(row["sent_less"]), row["stereo_antistereo"]
    if direction not in ("stereo", "antistereo") or not more.strip() or not less.strip():
        raise ValueError
    return Pair(more, less, direction == "antistereo", str(row["bias_type"]))


def stereoset(file: Path | None) -> list[Cloze]:
    """The intrasentence part of a file, or of the Hub. Raises UserError."""
    rows = _stereoset_rows(file) if file is not None else hub_rows(_STEREOSET, "validation")
    return _read(rows, _cloze, file, "StereoSet, id, target, bias_type, context, sentences")


def _stereoset_rows(file: Path) -> Iterator[LocatedRow]:
    if file.suffix == ".json":
        content = parse_json(read_text(file), file)
        data = content.get("data") if isinstance(content, Mapping) else None
        if isinstance(data, Mapping) and isinstance(data.get("intrasentence"), list):
            return ((f"{file}: intrasentence[{number}]", row) for number, row in enumerate(data["intrasentence"]))
    return file_rows(file, ("context", "sentences"))


def _cloze(row: Mapping[str, Any]) -> Cloze:
    sentences = row["sentences"]
    if isinstance(sentences, Mapping):  # as the Hub's parquet files have it: lists by field
        sentences = [
            {"sentence": text, "gold_label": label}
            for text, label in zip(sentences["sentence"], sentences["gold_label"], strict=True)
        ]
    context = str(row["context"])
    # The original splits at single spaces, and takes the last word with the blank in it.
    place = [number for number, word in enumerate(context.split(" ")) if _BLANK in word][-1]
    words = {}
    for each in sentences:
        label = _LABELS[each["gold_label"]] if isinstance(each["gold_label"], int) else each["gold_label"]
        words[label] = each["sentence"].split(" ")[place].translate(str.maketrans("", "", string.punctuation))
    if words.keys() != set(_LABELS):
        raise ValueError
    return Cloze(context, words, str(row["target"]), str(row["bias_type"]))


def _read(
    rows: Iterator[LocatedRow], convert: Callable[[Mapping[str, Any]], T], file: Path | None, form: str
) -> list[T]:
    found = []
    for place, row in rows:
        try:
            found.append(convert(row))
        except (KeyError, ValueError, IndexError, TypeError, AttributeError):
            raise UserError(
                f"{place}: not a row of {form.partition(',')[0]}", remedy=f"give the file of {form}"
            ) from None
    if not found:
        raise UserError(f"{file} has no rows", remedy=f"give the file of {form}")
    return found


def blank_with(context: str, text: str) -> str:
    """The sentence with a text in the place of its blank."""
    return context.replace(_BLANK, text)
