"""Tagging: a tag for each word of a sentence, to mark entities or parts of speech.

An example in canonical columns. Tags are text; only features and models use tag numbers:

    {"id": "0", "tokens": ["EU", "rejects", "German", "call"], "tags": ["B-ORG", "O", "B-MISC", "O"],
     "text": None, "inexact": 0}

`text` is given if the row was a text, and the words were found in it. `inexact` is the number of its gold entities
that began or ended inside a word.

The tag of a word is predicted at its first token. A sentence longer than max_length is split into parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.console import warn
from llmkit.tasks.base import Task
from llmkit.tasks.class_weights import weights_of
from llmkit.tasks.on_disk import batched, held_like
from llmkit.tasks.score_tables import Table
from llmkit.tasks.tags import tags as tag_forms
from llmkit.tasks.tags.entities import Reader, each_word
from llmkit.tasks.tags.offsets import mentions
from llmkit.tasks.tags.rows import TEXT, sentence
from llmkit.tasks.tags.schemes import check_one_form, reader_of
from llmkit.tasks.tags.sections import TagData, TagRecipe
from llmkit.tasks.tags.splitting import Splitter
from llmkit.tasks.values import IGNORED, Array, Codec, Outputs, Prediction, Published, by_id, softmax

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

    from llmkit.tasks.editor import Editor
    from llmkit.tasks.explained import Explained, Typed, Wanted
    from llmkit.tasks.head import Head, Loss
    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review
    from llmkit.tasks.served import Served

ENCODED_AT_ONCE = 1000  # sentences


@dataclass(frozen=True)
class Tagging(Task[TagData]):
    """Sentences of words, each with a tag: in a scheme of entities, the type of an entity, or any other (schemes.py).

    `each_word` says that tags mark no entities, whatever they look like: each is scored on its own. `tag_columns` are
    the columns of tags, the usual one first.
    """

    metric: str = "f1"
    headline: tuple[str, ...] = ("f1", "precision", "recall", "accuracy")
    item: str = "sentence"
    pipeline_tag: str | None = "token-classification"
    each_word: bool = False
    tag_columns: tuple[str, ...] = ("ner_tags", "tags")

    recipe_class: ClassVar[type[FinetuneRecipe]] = TagRecipe
    unexplained: ClassVar[str | None] = None
    labelled: ClassVar[bool] = True

    @property
    def head(self) -> Head:
        """See Task."""
        from llmkit.tasks.tags.head import HEAD

        return HEAD

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return ("tokens", self.tag_columns[0])

    def example(self, row: Mapping[str, Any], data: TagData, *, labelled: bool) -> dict[str, Any]:
        """See Task."""
        return sentence(row, data, self.tag_columns, labelled=labelled)

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, List, Value

        text, texts = Value("string"), List(Value("string"))
        return Features({"id": text, "tokens": texts, "tags": texts, "text": text, "inexact": Value("int32")})

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """See Task: O, then the rest alphabetically.

        Raises UserError if all training examples have the same tag, or if tags mix two forms, such as B-PER and PER.
        """
        if examples is None:
            return ()
        self._check_form(examples)
        return tag_forms.in_order(examples)

    def loss(self, recipe: FinetuneRecipe, codec: Codec, train: Dataset) -> Loss:
        """See Task. Raises UserError for weights of tags and types that there are not."""
        import torch

        from llmkit.tasks.head import WeightedLoss

        if not isinstance(recipe, TagRecipe) or recipe.train.class_weights is None:
            return self.head.loss
        counts = Counter(tag for tags in train["tags"] for tag in tags)
        types = {} if self.each_word else tag_forms.tags_by_type(codec.labels)
        return WeightedLoss(torch.tensor(weights_of(recipe.train.class_weights, codec.labels, counts, types)))

    def encode(self, examples: Dataset, codec: Codec, data: TagData, *, training: bool) -> Dataset:
        """Features are sentences or parts of sentences. `first` holds the position of each word's first token.

        For training, `tag_labels` is the tag's index at the first token of each word, and -100 elsewhere and for tags
        that the codec does not know. Raises UserError if tags mix two forms, such as B-PER and PER.
        """
        self._check_form(examples)  # of the validation examples
        splitter = Splitter(codec.tokenizer, data.max_length, self.name)
        number_of = {label: number for number, label in enumerate(codec.labels)}

        def features() -> Iterator[dict[str, Any]]:
            for start in range(0, len(examples), ENCODED_AT_ONCE):
                rows = examples[start : start + ENCODED_AT_ONCE]
                done = Counter[int]()  # words in the earlier parts of each sentence
                for owner, ids, first in splitter.split(rows["tokens"]):
                    feature = {
                        "input_ids": np.array(ids, np.int32),
                        "length": len(ids),
                        "example": start + owner,
                        "first": np.array(first, np.int32),
                    }
                    if training:
                        labels = np.full(len(ids), IGNORED, np.int32)
                        tags = rows["tags"][owner][done[owner] : done[owner] + len(first)]
                        labels[first] = [number_of.get(tag, IGNORED) for tag in tags]
                        feature["tag_labels"] = labels
                    done[owner] += len(first)
                    yield feature

        return held_like(examples, batched(features()))

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

        The text is the most likely tag of each word, joined by spaces; the score is their mean probability. Entities
        are those that the tags mark.
        """
        tags: list[list[str]] = [[] for _ in range(len(examples))]
        confidence: list[list[float]] = [[] for _ in range(len(examples))]
        probable: list[list[dict[str, float]]] = [[] for _ in range(len(examples))]
        for output, owner, first in zip(outputs, features["example"][:], features["first"], strict=True):
            probabilities = softmax(output["logits"][first])
            tags[owner] += [codec.labels[number] for number in probabilities.argmax(axis=1)]
            confidence[owner] += probabilities.max(axis=1).tolist()
            probable[owner] += tag_forms.probable(probabilities, codec.labels)
        read = self._reader(codec.labels)
        return [
            Prediction(
                example["id"],
                " ".join(its_tags),
                float(np.mean(sure)),
                entities=tuple(mentions(its_tags, sure, example["tokens"], example["text"], read)),
                tags=tuple(its_probable),
            )
            for example, its_tags, sure, its_probable in zip(examples, tags, confidence, probable, strict=True)
        ]

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: TagData) -> dict[str, Any]:
        """See Task. Raises UserError if a prediction does not have one tag per word."""
        from llmkit.tasks.tags.scores import ENTITY_SCORES, tag_scores

        if not self.each_word:
            return tag_scores(predictions, examples)
        scores = tag_scores(predictions, examples, each_word)
        return {name: value for name, value in scores.items() if name not in ENTITY_SCORES}

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: TagData) -> dict[str, Measured]:
        """See Task. Raises UserError if a prediction does not have one tag per word."""
        from llmkit.tasks.tags.scores import ENTITY_SCORES, tag_measures

        if not self.each_word:
            return tag_measures(predictions, examples)
        measures = tag_measures(predictions, examples, each_word)
        return {name: measure for name, measure in measures.items() if name not in ENTITY_SCORES}

    def correct(self, predictions: Sequence[Prediction], examples: Dataset, data: TagData) -> Array:
        """See Task: a sentence is right if all its tags are."""
        found = [prediction.text.split() if prediction else None for prediction in by_id(predictions, examples)]
        return np.array([ours == list(theirs) for ours, theirs in zip(found, examples["tags"][:], strict=True)])

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: TagData) -> Review:
        """See Task."""
        from llmkit.tasks.tags.review import TagReview

        return TagReview(self, predictions, examples, data, self._reader_of(predictions, examples))

    def contents(self, examples: Dataset) -> dict[str, list[str]]:
        """See Task."""
        return {"sentence": [" ".join(tokens) for tokens in examples["tokens"][:]]}

    def typed_example(self, typed: Typed, data: TagData) -> dict[str, Any]:
        """See Task: a sentence, whose words are found in it."""
        from llmkit.tasks.tags.explained import typed_sentence

        row = typed_sentence(typed, self.name, data.tokens_column or TEXT)
        return sentence(row, data, self.tag_columns, labelled=False)

    def explained(
        self,
        example: Mapping[str, Any],
        inputs: Sequence[tuple[Mapping[str, Any], Outputs]],
        prediction: Prediction,
        codec: Codec,
        data: TagData,
        wanted: Wanted,
    ) -> Explained:
        """See Task: the logit of one word's tag."""
        from llmkit.tasks.tags.explained import explained_tag

        return explained_tag(example, inputs, prediction.text.split(), codec, wanted)

    def served(self, data: TagData) -> Served:
        """See Task."""
        from llmkit.tasks.tags.served import served_tags

        return served_tags(data.tokens_column)

    @property
    def editor(self) -> Editor:
        """See Task."""
        from llmkit.tasks.tags.edited import TagEditor

        return TagEditor(self.each_word)

    def check_labels(self, name: str, codec: Codec, examples: Dataset) -> None:
        """See Task."""
        tag_forms.check_tags(name, codec.labels, examples)
        if inexact := tag_forms.inexact_entities(examples):
            warn(inexact)

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: counts of tags and entities, and what is unusual about them."""
        yield False, tag_forms.tag_counts(examples["train"], self._reader(codec.labels))
        for split in ("train", "validation"):
            if inexact := tag_forms.inexact_entities(examples[split]):
                yield True, f"{split}: {inexact}"
        clause = "does not occur in the training examples"
        if unknown := tag_forms.unknown_tags(examples["validation"], codec.labels, clause):
            yield True, f"validation: {unknown}"

    def _check_form(self, examples: Dataset) -> None:
        if not self.each_word:
            check_one_form(tag_forms.tag_set(examples))

    def _reader(self, tags: Iterable[str]) -> Reader:
        return each_word if self.each_word else reader_of(tags)

    def _reader_of(self, predictions: Sequence[Prediction], examples: Dataset) -> Reader:
        """The reader of both gold and predicted tags."""
        return self._reader(tag_forms.tag_set(examples).union(*(prediction.text.split() for prediction in predictions)))

    def more_tables(self, scores: Mapping[str, Any]) -> Iterator[Table]:
        """See Task: scores by type of entity, or by tag."""
        measures = ("f1", "precision", "recall")
        rows = [
            [name, *(f"{of[m]:.2f}" for m in measures), f"{of['support']:,}"] for name, of in scores["per_type"].items()
        ]
        if rows:
            names = ("tag", ">words") if self.each_word else ("entity", ">entities")
            yield Table([names[0], *(f">{m}" for m in measures), names[1]], rows)

    def usage_example(self, model: Published) -> str:
        """See Task."""
        from llmkit.tasks.tags.usage import usage_example

        return usage_example(model, self._reader(model.config.get("id2label", {}).values()))
