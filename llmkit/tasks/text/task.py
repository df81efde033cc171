"""Text generation: translation, summarization, semantic parsing.

A row has a source and a target in two columns, or under two languages as in translation datasets:

    {"document": "We prove that …", "summary": "Deep linear networks have no bad local minima."}
    {"translation": {"en": "A dog runs.", "de": "Ein Hund läuft."}}

The canonical columns are id, source, target and, for SQL, database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from llmkit.corpus.tokenizer import forget_lengths
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.errors import UserError
from llmkit.tasks.base import Task
from llmkit.tasks.bootstrap import scores_of
from llmkit.tasks.examples import text_of
from llmkit.tasks.on_disk import held_like
from llmkit.tasks.score_tables import Table
from llmkit.tasks.text.sections import TextData, TextRecipe
from llmkit.tasks.values import Array, BadRow, Codec, Outputs, Prediction, Published, by_id

if TYPE_CHECKING:
    from datasets import Dataset, Features
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.models.checkpoint import Checkpoint
    from llmkit.models.onnx import Graphs
    from llmkit.tasks.editor import Editor
    from llmkit.tasks.head import Head, Loss
    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review
    from llmkit.tasks.served import Served

Measure = Literal["translation", "summary", "program"]
ENCODED_AT_ONCE = 1000  # examples
_HEADLINES: dict[Measure, tuple[str, ...]] = {
    "translation": ("bleu", "chrf"),
    "summary": ("rouge1", "rouge2", "rougeL"),
    "program": ("exact_match",),
}
_TAGS: dict[Measure, str] = {
    "translation": "translation",
    "summary": "summarization",
    "program": "text-generation",
}
_METRICS: dict[Measure, str] = {"translation": "bleu", "summary": "rougeL", "program": "exact_match"}


@dataclass(frozen=True)
class Seq2Seq(Task[TextData]):
    """A text generation task. `measure` chooses the scores: BLEU and chrF, ROUGE, or exact match."""

    measure: Measure = "translation"
    source: str = "source"
    target: str = "target"

    recipe_class: ClassVar[type[FinetuneRecipe]] = TextRecipe
    unexplained: ClassVar[str | None] = "a generated text is many choices, one after the other, not one number"

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", _METRICS[self.measure])
        object.__setattr__(self, "headline", _HEADLINES[self.measure])
        object.__setattr__(self, "pipeline_tag", _TAGS[self.measure])

    @property
    def head(self) -> Head:
        """See Task."""
        from llmkit.tasks.text.head import HEAD

        return HEAD

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return (self.source, self.target)

    def example(self, row: Mapping[str, Any], data: TextData, *, labelled: bool) -> dict[str, Any]:
        """See Task."""
        names = {"source": data.source_column or self.source, "target": data.target_column or self.target}
        texts = row.get("translation", row)
        if not isinstance(texts, Mapping):
            raise BadRow("'translation' is not an object of languages")
        known = tuple(names.values())
        has_target = labelled or texts.get(names["target"]) is not None
        target = text_of(texts, names["target"], known, "target_column") if has_target else ""
        return {
            "source": text_of(texts, names["source"], known, "source_column").strip(),
            "target": target.strip(),
            "database": str(row.get("db_id") or ""),
        }

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, Value

        return Features({name: Value("string") for name in ("id", "source", "target", "database")})

    def encode(self, examples: Dataset, codec: Codec, data: TextData, *, training: bool) -> Dataset:
        """One feature per example. For training, also `target_ids`, which include the end-of-text token."""

        def features() -> Iterator[dict[str, Any]]:
            for start in range(0, len(examples), ENCODED_AT_ONCE):
                rows = examples[start : start + ENCODED_AT_ONCE]
                sources = _ids(codec.tokenizer, [data.source_prefix + text for text in rows["source"]], data.max_length)
                feature = {
                    "input_ids": sources,
                    "example": list(range(start, start + len(sources))),
                    "length": [len(ids) for ids in sources],
                }
                if training:
                    targets = _ids(codec.target_tokenizer, rows["target"], data.max_target_length, target=True)
                    # The decoder's start token is an input, not a target.
                    targets = [ids[1:] if ids[0] == codec.decoder_start else ids for ids in targets]
                    feature |= {"target_ids": targets, "target_length": [len(ids) for ids in targets]}
                yield feature

        return held_like(examples, features())

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
        """See Task. Outputs are the generated token `ids`, and `score`, their mean log-probability."""
        ids = examples["id"][:]
        texts = [codec.target_tokenizer.decode(output["ids"], skip_special_tokens=True) for output in outputs]
        return [
            Prediction(ids[owner], str(text).strip(), float(np.exp(output["score"])))
            for owner, text, output in zip(features["example"][:], texts, outputs, strict=True)
        ]

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
        """See Task."""
        from llmkit.tasks.text.scores import MEASURES

        measures, notes = MEASURES[self.measure](predictions, examples, data)
        return {**scores_of(measures), **notes, "total": len(examples)}

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Measured]:
        """See Task."""
        from llmkit.tasks.text.scores import MEASURES

        return MEASURES[self.measure](predictions, examples, data)[0]

    def correct(self, predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> Array:
        """See Task: the text of the reference, but for white space."""
        found = [prediction.text.split() if prediction else None for prediction in by_id(predictions, examples)]
        return np.array([ours == text.split() for ours, text in zip(found, examples["target"][:], strict=True)])

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> Review:
        """See Task."""
        from llmkit.tasks.text.review import TextReview

        return TextReview(self, predictions, examples, data)

    def served(self, data: TextData) -> Served:
        """See Task."""
        from llmkit.tasks.text.served import served_text

        return served_text(data.source_column or self.source)

    @property
    def editor(self) -> Editor:
        """See Task."""
        from llmkit.tasks.text.edited import TextEditor

        return TextEditor(translated=self.measure == "translation")

    def contents(self, examples: Dataset) -> dict[str, list[str]]:
        """See Task."""
        return {"source": examples["source"][:], "target": examples["target"][:]}

    def check_scores(self, examples: Dataset, data: TextData) -> None:
        """See Task: BLEU of some languages needs more packages."""
        if self.measure == "translation":
            from llmkit.tasks.text.generation_metrics import bleu_metric

            bleu_metric(examples["target"][:], data.language_of_targets)

    def more_tables(self, scores: Mapping[str, Any]) -> Iterator[Table]:
        """See Task: how texts were cut into words."""
        names = {"bleu_signature": "bleu", "chrf_signature": "chrf", "rouge_tokenizer": "rouge"}
        if rows := [[name, scores[key]] for key, name in names.items() if key in scores]:
            yield Table(["score", "computed with"], rows)

    def codec_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, train: Dataset) -> Codec:
        """See Task."""
        from llmkit.tasks.text.model import codec_to_train

        assert isinstance(recipe, TextRecipe)
        return codec_to_train(recipe, checkpoint, train)

    def model_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, codec: Codec) -> PreTrainedModel:
        """See Task."""
        from llmkit.tasks.text.model import model_to_train

        assert isinstance(recipe, TextRecipe)
        return model_to_train(recipe, checkpoint, codec)

    def load_trained(self, checkpoint: Checkpoint, data: TextData) -> tuple[PreTrainedModel, Codec]:
        """See Task."""
        from llmkit.tasks.text.model import load_trained

        return load_trained(self, checkpoint, data)

    def loss(self, recipe: FinetuneRecipe, codec: Codec, train: Dataset) -> Loss:
        """See Task."""
        from llmkit.tasks.head import token_loss

        assert isinstance(recipe, TextRecipe)
        return token_loss(recipe.train.label_smoothing_factor)

    def graphs(self) -> Graphs:
        """See Task."""
        from llmkit.tasks.text.onnx import ENCODER_DECODER

        return ENCODER_DECODER

    def usage_example(self, model: Published) -> str:
        """See Task."""
        from llmkit.tasks.text.usage import usage_example

        return usage_example(model)


def _ids(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], max_length: int, *, target: bool = False
) -> list[list[int]]:
    """Token ids, truncated to `max_length`. Text that looks like a special token is encoded as plain text."""
    options: dict[str, Any] = {"truncation": True, "max_length": max_length, "split_special_tokens": True}
    # Some tokenizers have separate vocabularies for sources and targets; `text_target` selects the latter.
    encoded = tokenizer(text_target=texts, **options) if target else tokenizer(texts, **options)
    forget_lengths(tokenizer)
    ids: list[list[int]] = encoded["input_ids"]
    if not all(ids):
        raise UserError("the tokenizer gives no tokens for a text", remedy="use a tokenizer with an end-of-text token")
    return ids
