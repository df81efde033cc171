"""Texts into texts: translation, summarization, semantic parsing.

A row has a source and a target in two columns, or, as translation data has it, under two languages:

    {"document": "We prove that …", "summary": "Deep linear networks have no bad local minima."}
    {"translation": {"en": "A dog runs.", "de": "Ein Hund läuft."}}

Its canonical columns are id, source, target and, for SQL, database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llmkit.corpus.tokenizer import forget_lengths
from llmkit.system.errors import UserError
from llmkit.tasks.base import BadRow, Codec, Outputs, Placed, Prediction
from llmkit.tasks.examples import text_of

if TYPE_CHECKING:
    from datasets import Dataset, Features
    from transformers import PreTrainedTokenizerFast

    from llmkit.recipes.finetuning import TextData

Measure = Literal["translation", "summary", "program"]
_HEADLINES: dict[Measure, tuple[str, ...]] = {
    "translation": ("bleu", "chrf"),
    "summary": ("rouge1", "rouge2", "rougeL"),
    "program": ("exact_match",),
}
_METRICS: dict[Measure, str] = {"translation": "bleu", "summary": "rougeL", "program": "exact_match"}


@dataclass(frozen=True)
class Seq2Seq:
    """A task whose answers are written. `measure` says by which scores: BLEU, ROUGE, or equality."""

    name: str
    title: str
    recipe: str
    measure: Measure
    source: str
    target: str
    item: str
    hub_id: str | None = None
    hub_name: str | None = None
    hub_revision: str | None = None
    head: Literal["text"] = "text"

    @property
    def metric(self) -> str:
        """See Task."""
        return _METRICS[self.measure]

    @property
    def headline(self) -> tuple[str, ...]:
        """See Task."""
        return _HEADLINES[self.measure]

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return (self.source, self.target)

    def splits(self, split: str) -> tuple[str, ...]:
        """See Task."""
        return (split,)

    def expand(self, place: str, row: Any) -> Iterator[Placed]:
        """See Task."""
        yield place, row

    def example(self, row: Mapping[str, Any], data: TextData, *, labelled: bool) -> dict[str, Any]:
        """See Task."""
        names = {"source": data.source_column or self.source, "target": data.target_column or self.target}
        texts = row.get("translation", row)
        if not isinstance(texts, Mapping):
            raise BadRow("'translation' is not an object of languages")
        known = tuple(names.values())
        target = text_of(texts, names["target"], known) if labelled or texts.get(names["target"]) is not None else ""
        return {
            "source": text_of(texts, names["source"], known).strip(),
            "target": target.strip(),
            "database": str(row.get("db_id") or ""),
        }

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, Value

        return Features({name: Value("string") for name in ("id", "source", "target", "database")})

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """See Task: none."""
        return ()

    def encode(self, examples: Dataset, codec: Codec, data: TextData, *, training: bool) -> Dataset:
        """One feature an example; in training also `target_ids`, which end with the end of the text."""
        from datasets import Dataset

        sources = [data.source_prefix + source for source in examples["source"][:]]
        columns: dict[str, Any] = {
            "input_ids": _ids(codec.tokenizer, sources, data.max_length),
            "example": list(range(len(examples))),
        }
        columns["length"] = [len(ids) for ids in columns["input_ids"]]
        if training:
            targets = _ids(codec.target_tokenizer, examples["target"][:], data.max_target_length, target=True)
            # The token that targets are written after is what the decoder reads first: it is not written.
            columns["target_ids"] = [ids[1:] if ids[0] == codec.decoder_start else ids for ids in targets]
            columns["target_length"] = [len(ids) for ids in columns["target_ids"]]
        return Dataset.from_dict(columns)

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: TextData,
        *,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """See Task; outputs are `ids`, what was written, and `score`, the mean log-probability of its tokens."""
        ids = examples["id"][:]
        written = [codec.target_tokenizer.decode(output["ids"], skip_special_tokens=True) for output in outputs]
        return [
            Prediction(ids[owner], str(text).strip(), float(np.exp(output["score"])))
            for owner, text, output in zip(features["example"][:], written, outputs, strict=True)
        ]

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
        """See Task."""
        from llmkit.tasks.text.scores import SCORES

        return SCORES[self.measure](predictions, examples, data)


def _ids(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], longest: int, *, target: bool = False
) -> list[list[int]]:
    """Token ids, cut to `longest`. What looks like a special token in a text is text."""
    options: dict[str, Any] = {"truncation": True, "max_length": longest, "split_special_tokens": True}
    # Some encoder-decoders have a vocabulary for each side in one tokenizer, which `text_target` asks for.
    encoded = tokenizer(text_target=texts, **options) if target else tokenizer(texts, **options)
    forget_lengths(tokenizer)
    ids: list[list[int]] = encoded["input_ids"]
    if not all(ids):
        raise UserError("the tokenizer makes no token of a text", remedy="use a tokenizer that ends a text with one")
    return ids
