"""Tagging: a tag for each word of a sentence, to mark entities.

An example in canonical columns. Tags are text; only features and models use tag numbers:

    {"id": "0", "tokens": ["EU", "rejects", "German", "call"], "tags": ["B-ORG", "O", "B-MISC", "O"]}

The tag of a word is predicted at its first token. A sentence longer than max_length is split into parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.tasks.base import Task
from llmkit.tasks.examples import checked_text, missing_column
from llmkit.tasks.tags import tags as tag_forms
from llmkit.tasks.tags.sections import TagData, TagRecipe
from llmkit.tasks.tags.splitting import Splitter
from llmkit.tasks.values import IGNORED, BadRow, Codec, MissingLabel, Outputs, Prediction, Published, softmax

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

    from llmkit.tasks.head import Head
    from llmkit.tasks.score_tables import Table

ENCODED_AT_ONCE = 1000  # sentences


@dataclass(frozen=True)
class Tagging(Task[TagData]):
    """Sentences of words, each with a tag in any entity scheme: IOB1, IOB2, IOE, IOBES, BILOU."""

    metric: str = "f1"
    headline: tuple[str, ...] = ("f1", "precision", "recall")
    item: str = "sentence"
    pipeline_tag: str | None = "token-classification"

    recipe_class: ClassVar[type[FinetuneRecipe]] = TagRecipe
    labelled: ClassVar[bool] = True

    @property
    def head(self) -> Head:
        """See Task."""
        from llmkit.tasks.tags.head import HEAD

        return HEAD

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return ("tokens", "ner_tags")

    def example(self, row: Mapping[str, Any], data: TagData, *, labelled: bool) -> dict[str, Any]:
        """See Task."""
        words_column = data.tokens_column or "tokens"
        words = _list(row, words_column, "tokens_column", BadRow)
        if not words:
            raise BadRow(f"{words_column!r} is empty: a sentence without words")
        for number, word in enumerate(words, start=1):
            if not isinstance(word, str) or not word:
                raise BadRow(f"word {number} of {words_column!r} is empty or not text: {word!r}")
            checked_text(word, words_column)
        if not labelled:
            return {"tokens": words, "tags": []}
        tags_column = data.tags_column or ("ner_tags" if "ner_tags" in row or "tags" not in row else "tags")
        tags = _list(row, tags_column, "tags_column", BadRow if data.tags_column is not None else MissingLabel)
        if len(tags) != len(words):
            raise BadRow(f"{len(words):,} {words_column!r}, but {len(tags):,} {tags_column!r}: each word needs a tag")
        for number, tag in enumerate(tags, start=1):
            tag_forms.check_tag(tag, f"tag {number} of {tags_column!r}")
        return {"tokens": words, "tags": tags}

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, List, Value

        return Features({"id": Value("string"), "tokens": List(Value("string")), "tags": List(Value("string"))})

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """See Task: O, then the rest alphabetically. Raises UserError if the training examples have no entities."""
        return tag_forms.in_order(examples) if examples is not None else ()

    def encode(self, examples: Dataset, codec: Codec, data: TagData, *, training: bool) -> Dataset:
        """Features are sentences or parts of sentences. `first` holds the position of each word's first token.

        For training, `tag_labels` is the tag's index at the first token of each word, and -100 elsewhere and for tags
        that the codec does not know.
        """
        from datasets import Dataset

        splitter = Splitter(codec.tokenizer, data.max_length, self.name)
        number_of = {label: number for number, label in enumerate(codec.labels)}
        columns: dict[str, list[Any]] = {name: [] for name in ("input_ids", "length", "example", "first")}
        if training:
            columns["tag_labels"] = []
        for start in range(0, len(examples), ENCODED_AT_ONCE):
            rows = examples[start : start + ENCODED_AT_ONCE]
            done = Counter[int]()  # words in the earlier parts of each sentence
            for owner, ids, first in splitter.split(rows["tokens"]):
                columns["input_ids"].append(np.array(ids, np.int32))
                columns["length"].append(len(ids))
                columns["example"].append(start + owner)
                columns["first"].append(np.array(first, np.int32))
                if training:
                    labels = np.full(len(ids), IGNORED, np.int32)
                    tags = rows["tags"][owner][done[owner] : done[owner] + len(first)]
                    labels[first] = [number_of.get(tag, IGNORED) for tag in tags]
                    columns["tag_labels"].append(labels)
                done[owner] += len(first)
        return Dataset.from_dict(columns)

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: TagData,
        *,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """See Task. Outputs are `logits`, [tokens, labels].

        The text is the most likely tag of each word, joined by spaces; the score is their mean probability.
        """
        tags: list[list[str]] = [[] for _ in range(len(examples))]
        confidence: list[list[float]] = [[] for _ in range(len(examples))]
        for output, owner, first in zip(outputs, features["example"][:], features["first"], strict=True):
            probabilities = softmax(output["logits"][first])
            tags[owner] += [codec.labels[number] for number in probabilities.argmax(axis=1)]
            confidence[owner] += probabilities.max(axis=1).tolist()
        ids = examples["id"][:]
        return [
            Prediction(ids[row], " ".join(tags[row]), float(np.mean(confidence[row]))) for row in range(len(examples))
        ]

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: TagData) -> dict[str, Any]:
        """See Task. Raises UserError if a prediction does not have one tag per word."""
        from llmkit.tasks.tags.scores import tag_scores

        return tag_scores(predictions, examples)

    def check_labels(self, name: str, codec: Codec, examples: Dataset) -> None:
        """See Task."""
        tag_forms.check_tags(name, codec.labels, examples)

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: counts of tags and entities, and validation tags that do not occur in the training examples."""
        yield False, tag_forms.tag_counts(examples["train"])
        clause = "does not occur in the training examples"
        if unknown := tag_forms.unknown_tags(examples["validation"], codec.labels, clause):
            yield True, f"validation: {unknown}"

    def more_tables(self, scores: Mapping[str, Any]) -> Iterator[Table]:
        """See Task: scores by entity type."""
        from llmkit.tasks.score_tables import Table

        measures = ("f1", "precision", "recall")
        rows = [
            [name, *(f"{of[m]:.2f}" for m in measures), f"{of['support']:,}"] for name, of in scores["per_type"].items()
        ]
        if rows:
            yield Table(["entity", *(f">{m}" for m in measures), ">entities"], rows)

    def usage_example(self, model: Published) -> str:
        """See Task."""
        from llmkit.tasks.tags.usage import usage_example

        return usage_example(model)


def _list(row: Mapping[str, Any], name: str, option: str, missing: type[BadRow]) -> list[Any]:
    value = row.get(name)
    if value is None:
        raise missing(missing_column(row, name, option, [key for key in row if row[key] is not None]))
    if not isinstance(value, list):
        raise BadRow(f"{name!r} is not a list")
    return value
