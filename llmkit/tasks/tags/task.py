"""Tagging: a tag for every word of a sentence, which together say where entities are.

An example, in its canonical columns; tags are text there, and numbers in features and models only:

    {"id": "0", "tokens": ["EU", "rejects", "German", "call"], "tags": ["B-ORG", "O", "B-MISC", "O"]}

A word's tag is that of its first piece. A sentence that is longer than a model's input goes through in parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.base import Task
from llmkit.tasks.examples import checked_text
from llmkit.tasks.tags import tags as tag_forms
from llmkit.tasks.tags.sections import TagData, TagRecipe
from llmkit.tasks.values import IGNORED, BadRow, Codec, NoLabel, Outputs, Prediction, Published

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features
    from transformers import PreTrainedTokenizerFast

    from llmkit.tasks.head import Head
    from llmkit.tasks.score_tables import Table

ENCODED_AT_ONCE = 1000  # sentences


@dataclass(frozen=True)
class Tagging(Task[TagData]):
    """Sentences of words with a tag each, in any of the schemes of entities: IOB1, IOB2, IOE, IOBES, BILOU."""

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
        tags = _list(row, tags_column, "tags_column", BadRow if data.tags_column is not None else NoLabel)
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
        """See Task: O, and the others by the alphabet. Raises UserError where training examples hold no entity."""
        return tag_forms.numbered(examples) if examples is not None else ()

    def encode(self, examples: Dataset, codec: Codec, data: TagData, *, training: bool) -> Dataset:
        """Sentences, or parts of them, with `first`: the place of the first piece of each of their words.

        In training also `tag_labels`: a number where a word begins, -100 elsewhere. A tag that the codec does not know
        is not learned from.
        """
        from datasets import Dataset

        pieces = _Pieces(codec.tokenizer, data.max_length, self.name)
        number_of = {label: number for number, label in enumerate(codec.labels)}
        columns: dict[str, list[Any]] = {name: [] for name in ("input_ids", "length", "example", "first")}
        if training:
            columns["tag_labels"] = []
        for start in range(0, len(examples), ENCODED_AT_ONCE):
            rows = examples[start : start + ENCODED_AT_ONCE]
            done = Counter[int]()  # words of each sentence that earlier parts hold
            for owner, ids, first in pieces.of(rows["tokens"]):
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
        """See Task; outputs are `logits`, [tokens, labels].

        The text is the likeliest tag of each word, with spaces between them, and the score their mean probability.
        """
        tags: list[list[str]] = [[] for _ in range(len(examples))]
        sure: list[list[float]] = [[] for _ in range(len(examples))]
        for output, owner, first in zip(outputs, features["example"][:], features["first"], strict=True):
            logits = output["logits"][first].astype(np.float64)
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            best = shares.argmax(axis=1)
            tags[owner] += [codec.labels[number] for number in best]
            sure[owner] += shares.max(axis=1).tolist()
        ids = examples["id"][:]
        return [Prediction(ids[row], " ".join(tags[row]), float(np.mean(sure[row]))) for row in range(len(examples))]

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: TagData) -> dict[str, Any]:
        """See Task. Raises UserError where a prediction has not a tag for every word."""
        from llmkit.tasks.tags.scores import tag_scores

        return tag_scores(predictions, examples)

    def check_known(self, name: str, codec: Codec, examples: Dataset) -> None:
        """See Task."""
        tag_forms.check_known(name, codec.labels, examples)

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: the tags and entities, and tags of validation examples that training never shows."""
        yield False, tag_forms.shares(examples["train"])
        if unknown := tag_forms.strangers(examples["validation"], codec.labels, "the training examples never show"):
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


class _Pieces:
    """Words as a tokenizer's pieces, in inputs of at most `longest` of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, longest: int, task: str) -> None:
        from tokenizers.pre_tokenizers import ByteLevel

        if tokenizer.unk_token is None or tokenizer.padding_side != "right":
            raise UserError(
                f"a {type(tokenizer).__name__} does not suit {task}: no token for what is unknown, or padding on the "
                "left",
                remedy="use a BERT-like encoder",
            )
        # A copy, since truncation is a setting of the backend: the caller's tokenizer stays as it is.
        self._backend = deepcopy(tokenizer.backend_tokenizer)
        self._backend.no_padding()
        if isinstance(self._backend.pre_tokenizer, ByteLevel):
            # Such a vocabulary tells a word with a space before it from one without: here each has one.
            self._backend.pre_tokenizer = ByteLevel(add_prefix_space=True)
        self._unknown, self._longest = tokenizer.unk_token, longest
        self._room = longest - tokenizer.num_special_tokens_to_add(pair=False)

    def of(self, sentences: Sequence[Sequence[str]]) -> Iterator[tuple[int, list[int], list[int]]]:
        """(sentence, token ids, places of the first pieces of its words), in order; every word is there once."""
        self._backend.no_truncation()
        for owner, (words, encoding) in enumerate(
            zip(sentences, self._backend.encode_batch(list(sentences), is_pretokenized=True), strict=True)
        ):
            first = _first(encoding)
            if len(encoding) <= self._longest and len(first) == len(words):
                yield owner, encoding.ids, first
            else:
                for ids, places in self._parts(words, encoding):
                    yield owner, ids, places

    def _parts(self, words: Sequence[str], encoding: Any) -> Iterator[tuple[list[int], list[int]]]:
        """A sentence that is too long, or holds words of which a tokenizer makes nothing: these count as unknown."""
        sizes = Counter(number for number in encoding.word_ids if number is not None)
        words = [word if sizes[number] else self._unknown for number, word in enumerate(words)]
        lengths = [min(sizes[number] or 1, self._room) for number in range(len(words))]
        self._backend.enable_truncation(self._longest)  # for a word that alone is longer
        parts = [words[start:end] for start, end in _cuts(lengths, self._room)]
        for part, cut in zip(parts, self._backend.encode_batch(parts, is_pretokenized=True), strict=True):
            first = _first(cut)
            assert len(first) == len(part), part
            yield cut.ids, first
        self._backend.no_truncation()


def _first(encoding: Any) -> list[int]:
    """The place of the first piece of every word that has one."""
    numbers = encoding.word_ids
    return [n for n, word in enumerate(numbers) if word is not None and (n == 0 or numbers[n - 1] != word)]


def _cuts(lengths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Where to cut words of these lengths, so that no part is longer than `room`, and none much shorter than others."""
    total = sum(lengths)
    about = -(-total // -(-total // room))
    start = held = 0
    for number, length in enumerate(lengths):
        if held and held + length > about:
            yield start, number
            start, held = number, 0
        held += length
    yield start, len(lengths)


def _list(row: Mapping[str, Any], name: str, option: str, missing: type[BadRow]) -> list[Any]:
    value = row.get(name)
    if value is None:
        near = did_you_mean(name, [key for key in row if row[key] is not None])
        raise missing(f"no {name!r}{near}; data.{option} names another column: there are {', '.join(map(str, row))}")
    if not isinstance(value, list):
        raise BadRow(f"{name!r} is not a list")
    return value
