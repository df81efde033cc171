"""Texts whose vectors are near each other if they mean something similar.

Similarity is scored on pairs with a score, Retrieval (retrieval.py) on finding the texts that belong to a text. Both
learn from scored pairs, pairs that belong together, or triplets: see rows.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.models.sentence_settings import POOLING, Pooling, SentenceSettings, settings_of_sentences
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.tasks.base import Task
from llmkit.tasks.bootstrap import scores_of
from llmkit.tasks.on_disk import held_like
from llmkit.tasks.similarity.rows import PAIR, TEXT, example_of, form_of, texts_of
from llmkit.tasks.similarity.scores import similarity_measures
from llmkit.tasks.similarity.sections import SimilarityData, SimilarityRecipe
from llmkit.tasks.tokenizing import backend_copy, encoded
from llmkit.tasks.values import Array, Codec, Outputs, Prediction, Published

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features
    from transformers import PreTrainedModel

    from llmkit.models.checkpoint import Checkpoint
    from llmkit.tasks.editor import Editor
    from llmkit.tasks.head import Head, Loss
    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review
    from llmkit.tasks.served import Served

FORMS = {
    "scored": "pairs with a score",
    "pairs": "pairs that belong together",
    "triplets": "triplets",
    "collection": "a collection",
}


@dataclass(frozen=True)
class Similarity(Task[SimilarityData]):
    """How similar two texts are: the cosine of their vectors, which is compared with people's scores."""

    metric: str = "spearmanr"
    headline: tuple[str, ...] = ("spearmanr", "pearson")
    item: str = "pair"
    pipeline_tag: str | None = "sentence-similarity"

    recipe_class: ClassVar[type[FinetuneRecipe]] = SimilarityRecipe
    contrasts: ClassVar[bool] = True
    unexplained: ClassVar[str | None] = "a cosine is of two vectors, and no number of the model for one input"
    unexported: ClassVar[str | None] = (
        "their graph would end before the pooling; SentenceTransformer(FOLDER, backend='onnx') writes the whole"
    )

    @property
    def head(self) -> Head:
        """See Task."""
        from llmkit.tasks.similarity.head import HEAD

        return HEAD

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return ("sentence1", "sentence2", "score")

    def example(self, row: Mapping[str, Any], data: SimilarityData, *, labelled: bool) -> dict[str, Any]:
        """See Task."""
        return example_of(row, data, labelled=labelled)

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, List, Value

        texts = {name: Value("string") for name in ("id", "text", "pair", "negative", "label", "role")}
        return Features({**texts, "relevant": List(Value("string"))})

    def codec_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, train: Dataset) -> Codec:
        """See Task. The tokenizer notes the longest text, which sentence-transformers reads from it."""
        codec = super().codec_to_train(recipe, checkpoint, train)
        codec.tokenizer.model_max_length = recipe.data.max_length
        return codec

    def model_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, codec: Codec) -> PreTrainedModel:
        """See Task. Raises UserError for Matryoshka lengths beyond that of its vectors."""
        from llmkit.models.by_length import by_length

        assert isinstance(recipe, SimilarityRecipe)
        model = super().model_to_train(recipe, checkpoint, codec)
        width = model.config.hidden_size
        if wrong := [dim for dim in recipe.model.matryoshka or () if dim > width]:
            raise UserError(
                f"model.matryoshka: {wrong[0]} exceeds the {width} numbers of a vector", remedy=f"give at most {width}"
            )
        setattr(model.config, POOLING, _pooling(recipe, checkpoint))
        if (pooler := getattr(model, "pooler", None)) is not None:
            pooler.requires_grad_(False)  # it has no part in the vectors, so it gets no gradients
        by_length(model)
        return model

    def load_trained(self, checkpoint: Checkpoint, data: SimilarityData) -> tuple[PreTrainedModel, Codec]:
        """See Task. Any encoder will do, also one that was not trained for it."""
        settings = _plain(checkpoint)
        model, codec = super().load_trained(checkpoint, data)
        setattr(model.config, POOLING, settings.pooling)
        return model, codec

    def loss(self, recipe: FinetuneRecipe, codec: Codec, train: Dataset) -> Loss:
        """See Task: what the columns of the training examples are for. Raises UserError if they are for several."""
        from llmkit.models.checkpoint import Checkpoint
        from llmkit.tasks.similarity.head import VectorLoss

        assert isinstance(recipe, SimilarityRecipe)
        form = form_of(train)
        if form not in FORMS or form == "collection":
            raise UserError(
                "the training examples are not all of one form",
                remedy="give pairs with a score each, pairs without, or triplets",
            )
        origin = recipe.model.pretrained
        pooling = _pooling(recipe, Checkpoint.named(origin) if origin is not None else None)
        loss = VectorLoss(scored=form == "scored", pooling=pooling, dims=recipe.model.matryoshka)
        say(f"learning from {FORMS[form]}, with {loss.name} on batches of {recipe.train.per_device_train_batch_size}")
        return loss

    def apart(self, train: Dataset) -> Array | None:
        """See Task: where the others of a batch are wrong answers, no text occurs twice in it."""
        if form_of(train) == "scored":
            return None
        number_of = {text: number for number, text in enumerate(texts_of(train))} | {None: -1}
        return np.array([[number_of[text] for text in train[name][:]] for name in ("text", "pair", "negative")]).T

    def encode(self, examples: Dataset, codec: Codec, data: SimilarityData, *, training: bool) -> Dataset:
        """One feature per text that occurs, or in training, one per example with all its texts. Long texts are cut."""
        texts = texts_of(examples)
        backend = backend_copy(codec.tokenizer, "cls_token_id", self.name)
        encodings, cut = encoded(backend, texts, data.max_length, codec.tokenizer.truncation_side)
        long = set(cut)
        ids = [np.array(encoding.ids, np.int32) for encoding in encodings]
        types = [np.array(encoding.type_ids, np.int8) for encoding in encodings]
        if not training:
            columns: dict[str, list[Any]] = {
                "input_ids": ids,
                "token_type_ids": types,
                "length": [len(one) for one in ids],
            }
            is_cut = [number in long for number in range(len(ids))]
            return held_like(examples, [{**columns, "cut": is_cut, "example": list(range(len(ids)))}])
        number_of = {text: number for number, text in enumerate(texts)}
        rows = zip(*(examples[name][:] for name in ("text", "pair", "negative")), strict=True)
        members = [[number_of[text] for text in row if text is not None] for row in rows]
        lengths = [[len(ids[n]) for n in row] for row in members]
        scored = form_of(examples) == "scored"
        columns = {
            "input_ids": [[ids[n] for n in row] for row in members],
            "token_type_ids": [[types[n] for n in row] for row in members],
            "lengths": lengths,
            "length": [sum(row) for row in lengths],
            "cut": [not long.isdisjoint(row) for row in members],
            "example": list(range(len(members))),
            "label": [float(label) for label in examples["label"][:]] if scored else [0] * len(members),
        }
        return held_like(examples, [columns])

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: SimilarityData,
        *,
        threshold: Any = None,
    ) -> list[Prediction]:
        """See Task: the cosine of each pair."""
        from llmkit.tasks.label.regression import as_text

        vectors, number_of = vectors_of(outputs, examples)
        ids, texts, pairs = (examples[name][:] for name in ("id", "text", "pair"))
        firsts, seconds = (vectors[[number_of[text] for text in column]] for column in (texts, pairs))
        cosines = (firsts * seconds).sum(axis=1)
        return [Prediction(one, as_text(cosine), 1.0) for one, cosine in zip(ids, cosines, strict=True)]

    def check_scores(self, examples: Dataset, data: SimilarityData) -> None:
        """See Task. Raises UserError if there are no scores to compare cosines with."""
        if (form := form_of(examples)) != "scored":
            raise UserError(
                f"{self.name} is scored on pairs with a score; the validation data are {FORMS.get(form, form)}",
                remedy="give pairs with a column `score`, or score how well a model finds texts: --task retrieval",
            )

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: SimilarityData) -> dict[str, Any]:
        """See Task."""
        return {**scores_of(self.measures(predictions, examples, data)), "total": len(examples)}

    def measures(
        self, predictions: Sequence[Prediction], examples: Dataset, data: SimilarityData
    ) -> dict[str, Measured]:
        """See Task."""
        return similarity_measures(predictions, examples, self.headline)

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: SimilarityData) -> Review:
        """See Task."""
        from llmkit.tasks.similarity.review import SimilarityReview

        return SimilarityReview(self, predictions, examples, data)

    @property
    def editor(self) -> Editor:
        """See Task."""
        from llmkit.tasks.similarity.edited import SimilarityEditor

        return SimilarityEditor()

    def served(self, data: SimilarityData) -> Served:
        """See Task: the cosine of two texts."""
        from llmkit.tasks.label.served import served_number

        return served_number(data.text_column or TEXT[0], data.pair_column or PAIR[0])

    def contents(self, examples: Dataset) -> dict[str, list[str]]:
        """See Task."""
        return {name: [text or "" for text in examples[name][:]] for name in ("text", "pair")}

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task."""
        yield False, f"{len(texts_of(examples['train'])):,} different texts to learn from"

    def describe_inputs(self, features: Dataset) -> str:
        """See Task."""
        return f"{len(features):,} inputs"

    def write_files(self, folder: Path, data: SimilarityData) -> None:
        """See Task: those of sentence-transformers."""
        from llmkit.models.checkpoint import Checkpoint
        from llmkit.tasks.similarity.library import write_modules

        write_modules(folder, getattr(Checkpoint.named(str(folder)).config, POOLING))

    def next_step(self, run: str) -> str:
        """See Task."""
        return f"use it: llmkit embed {run} FILE -o vectors.parquet"

    def usage_example(self, model: Published) -> str:
        """See Task."""
        from llmkit.tasks.similarity.usage import usage_example

        return usage_example(model)

    def usage_command(self, name: str, output: str) -> str:
        """See Task."""
        return f"llmkit embed {name} FILE -o vectors.parquet"


def _pooling(recipe: SimilarityRecipe, checkpoint: Checkpoint | None) -> Pooling:
    """How the model to train pools."""
    own = _plain(checkpoint).pooling if checkpoint is not None else "mean"
    return recipe.model.pooling or own


def _plain(checkpoint: Checkpoint) -> SentenceSettings:
    """The settings of a checkpoint. Raises UserError if more than an encoder and its pooling makes its vectors."""
    settings = settings_of_sentences(checkpoint)
    more = {"a Dense layer": settings.dense, "lowercasing": settings.lowercase, "a default prompt": settings.prompt}
    if found := [name for name, it_has in more.items() if it_has]:
        raise UserError(
            f"{checkpoint.name} has {' and '.join(found)} beside its encoder, which this task does not have",
            remedy="use sentence-transformers to train or score it; `llmkit embed` reads it",
        )
    return settings


def vectors_of(outputs: Sequence[Outputs], examples: Dataset) -> tuple[Array, dict[str, int]]:
    """Vectors of length 1 of all texts, [texts, D], and each text's row."""
    vectors = np.stack([output["vector"] for output in outputs])
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors, {text: number for number, text in enumerate(texts_of(examples))}
