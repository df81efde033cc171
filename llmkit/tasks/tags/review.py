"""What a report says of single sentences: how sure entities are, and both sequences of tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmkit.tasks.label.labels import in_order
from llmkit.tasks.review import Claims, Labelling, Review
from llmkit.tasks.shown import Case, Mark, Part
from llmkit.tasks.slices import Detail, Sliced, Slicing
from llmkit.tasks.tags import slices
from llmkit.tasks.tags.entities import Entity, Reader
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.tags.task import Tagging


@dataclass(frozen=True)
class TagReview(Review):
    """A tag for each word. `read` finds entities in tags."""

    task: Tagging
    read: Reader

    slices_by_training: ClassVar[bool] = True
    unlabelled: ClassVar[str] = (
        "the predictions were written by an older llmkit, without the probabilities of tags; "
        "`llmkit eval RUN -o FOLDER` writes them"
    )

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """See Review."""
        return [slices.by_length(self.examples)]

    def sliced(self, train: Dataset | None) -> Iterator[Sliced]:
        """See Review: sentences, and entities, or words where each is scored."""
        yield from super().sliced(train)
        rows = "words" if self.task.each_word else "entities"
        yield slices.sliced_entities(self.predictions, self.examples, self.read, train, rows=rows)

    def details(self) -> Iterator[Detail]:
        """See Review: how entities are wrong."""
        if not self.task.each_word:
            yield slices.errors(self.predictions, self.examples, self.read)

    def claims(self) -> Claims:
        """See Review: of each predicted entity, or word where each is scored, that its type and place are right."""
        confidence, right, groups = [], [], []
        for example_id, tags, prediction in zip(
            self.examples["id"][:], self.examples["tags"][:], self.found, strict=True
        ):
            gold = set(self.read(tags))
            for entity in (prediction.entities or ()) if prediction is not None else ():
                confidence.append(entity.score)
                right.append(Entity(entity.type, entity.start_word, entity.end_word - 1) in gold)
                groups.append(example_id)
        rows = "words" if self.task.each_word else "predicted entities"
        return Claims(rows, np.array(confidence, np.float64), np.array(right, bool), groups)

    def errors(self) -> Array:
        """See Review: the confidence in the surest tag that is wrong, or in all of the sentence if tags have none."""
        found = np.full(len(self.examples), np.nan)
        for row, (tags, prediction) in enumerate(zip(self.examples["tags"][:], self.found, strict=True)):
            if prediction is None:
                continue
            predicted = prediction.text.split()
            wrong = [place for place, (ours, gold) in enumerate(zip(predicted, tags, strict=True)) if ours != gold]
            if wrong:
                sure = prediction.tags
                found[row] = prediction.score if sure is None else max(max(sure[place].values()) for place in wrong)
        return found

    def case(self, row: int) -> Case:
        """See Review: the sentence twice, with the gold entities and with the predicted ones."""
        example, prediction = self.examples[row], self.found[row]
        words, gold = example["tokens"], self.read(example["tags"])
        predicted = self.read(prediction.text.split()) if prediction is not None else []
        return Case(
            [
                ("gold", list(_with_entities(words, gold, set(predicted), "gold", only_wrong=self.task.each_word))),
                (
                    "predicted",
                    list(_with_entities(words, predicted, set(gold), "predicted", only_wrong=self.task.each_word)),
                ),
            ]
        )

    def labellings(self) -> Iterator[Labelling]:
        """See Review: one, of all words with tags that the model knows. None if predictions lack probabilities."""
        if any(prediction is not None and prediction.tags is None for prediction in self.found):
            return
        known = {tag for each in self.found if each is not None for word in each.tags or () for tag in word}
        names = in_order(known & {tag for tags in self.examples["tags"] for tag in tags})
        number = {name: place for place, name in enumerate(names)}
        gold: list[int] = []
        sure: list[Array] = []
        owners: list[int] = []
        places: list[str] = []
        for row, (words, tags, prediction) in enumerate(
            zip(self.examples["tokens"][:], self.examples["tags"][:], self.found, strict=True)
        ):
            for place, probable in enumerate((prediction.tags or ()) if prediction is not None else ()):
                if tags[place] in number:
                    gold.append(number[tags[place]])
                    sure.append(np.array([probable.get(name, 0.0) for name in names]))
                    owners.append(row)
                    places.append(f"word {place + 1}, {words[place]!r}")
        if sure:
            yield Labelling(names, np.array(gold), np.array(sure), np.array(owners), places)


def _with_entities(
    words: Sequence[str], entities: Sequence[Entity], others: set[Entity], mark: Mark, *, only_wrong: bool
) -> Iterator[Part]:
    """A sentence with its entities, of which those that are among the others have both marks."""
    end = 0
    for entity in entities:
        if only_wrong and entity in others:
            continue
        yield Part("".join(f"{word} " for word in words[end : entity.first]))
        text = " ".join(words[entity.first : entity.last + 1])
        yield Part(text, "both" if entity in others else mark, "" if entity.type == "_" else entity.type)
        yield Part(" ")
        end = entity.last + 1
    yield Part(" ".join(words[end:]))
