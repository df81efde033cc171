"""Questions and passages that are edited: answers stay where their characters are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from llmkit.tasks.editing import Edited, Place, Texts
from llmkit.tasks.editor import Editor
from llmkit.tasks.values import Prediction

PASSAGE = "context"


class SpanEditor(Editor):
    """Edits a question and its passage."""

    unedited: ClassVar[str | None] = None

    def texts(self, example: Mapping[str, Any]) -> Texts:
        """See Editor: the question and the passage. Answers are kept, those of Natural Questions' annotators too."""
        kept = sorted({*_answers(example), *_annotated(example)})
        return Texts({"question": example["question"], PASSAGE: example[PASSAGE]}, kept={PASSAGE: kept})

    def edited(self, example: Mapping[str, Any], edits: Mapping[str, Edited]) -> dict[str, Any] | None:
        """See Editor: None if nothing is left of the question or of an answer."""
        found = {**example, **{name: edit.text for name, edit in edits.items()}}
        if PASSAGE in edits:
            edit = edits[PASSAGE]
            places = [edit.place(*place) for place in _answers(example)]
            found["answers"] = {
                "text": [edit.text[start:end] for start, end in places],
                "answer_start": [start for start, _ in places],
            }
            if "annotations" in example:
                found["annotations"] = [_moved(each, edit) for each in example["annotations"]]
        lost = not all(text.strip() for text in found["answers"]["text"])
        return None if lost or not found["question"].strip() or not found[PASSAGE].strip() else found

    def same_answer(self, before: Prediction, after: Prediction, edits: Mapping[str, Edited]) -> bool:
        """See Editor: the same place of the passage, or the model abstains again."""
        if before.start is None or before.end is None:
            return after.start is None
        edit, place = edits.get(PASSAGE), (before.start, before.end)
        return (edit.place(*place) if edit else place) == (after.start, after.end)


def _answers(example: Mapping[str, Any]) -> list[Place]:
    answers = example["answers"]
    pairs = zip(answers["answer_start"], answers["text"], strict=True)
    return [(start, start + len(text)) for start, text in pairs]


def _annotated(example: Mapping[str, Any]) -> Iterator[Place]:
    for each in example.get("annotations", ()):
        yield from zip(each["start"], each["end"], strict=True)


def _moved(annotation: Mapping[str, Any], edit: Edited) -> dict[str, Any]:
    places = [edit.place(*place) for place in zip(annotation["start"], annotation["end"], strict=True)]
    return {**annotation, "start": [start for start, _ in places], "end": [end for _, end in places]}
