"""A model of sentences: texts in, one vector for each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, PreTrainedModel

from llmkit.models.checkpoint import Checkpoint, fresh_modules, zero_unused
from llmkit.models.collator import Batch
from llmkit.models.pooling import modules_of, pooled, states_of
from llmkit.models.sentence_settings import Pooling, SentenceSettings, settings_of_sentences
from llmkit.models.vocabulary import check_vocabulary
from llmkit.system.errors import UserError, did_you_mean
from llmkit.system.progress import Advance
from llmkit.tasks.columns import Columns
from llmkit.tasks.head import Head
from llmkit.tasks.inference import outputs_of
from llmkit.tasks.tokenizing import backend_copy, encoded
from llmkit.tasks.values import Array, Codec

NO_LIMIT = 1_000_000  # tokens: a tokenizer that says more than this says nothing
USUAL = 512  # tokens, where neither the model nor its tokenizer has a limit


@dataclass(frozen=True)
class Wanted:
    """What the user wants of the vectors; None is what the model says.

    dim         the first numbers of a vector alone, which Matryoshka models are trained for
    normalize   vectors of length 1
    max_length  tokens of a text
    prompt      the name of one of the model's prompts, or a text to put before each text; empty for none
    """

    pooling: Pooling | None = None
    dim: int | None = None
    normalize: bool = True
    max_length: int | None = None
    prompt: str | None = None


class Embedder:
    """A loaded model and its settings. `dim` is the length of its vectors, `max_length` that of a text in tokens.

    `cut` counts the texts that were longer, of those embedded so far.
    """

    def __init__(self, checkpoint: Checkpoint, wanted: Wanted, *, bf16: bool, batch_size: int | None = None) -> None:
        """Load a run, a checkpoint, or a model of sentence-transformers. Raises UserError."""
        _check_kind(checkpoint)
        self.settings = settings_of_sentences(checkpoint)
        tokenizer = checkpoint.tokenizer()
        check_vocabulary(tokenizer, checkpoint.config.vocab_size, checkpoint.name, may_grow=False)
        self.model: PreTrainedModel
        self.model, info = checkpoint.load(AutoModel)
        if missing := fresh_modules(info):
            raise UserError(
                f"{checkpoint.name} lacks weights of its encoder: {', '.join(missing)}",
                remedy="give a checkpoint with all of them",
            )
        zero_unused(self.model, info)
        self.codec, self.bf16, self.cut = Codec(tokenizer), bf16, 0
        self.pooling = wanted.pooling or self.settings.pooling
        self.prompt = _prompt(checkpoint.name, self.settings, wanted.prompt)
        self.max_length = _max_length(checkpoint, self.settings, tokenizer.model_max_length, wanted.max_length)
        self._normalize, self._batch_size = wanted.normalize, batch_size
        self._after = modules_of(self.settings)
        width = self.model.config.hidden_size
        full = len(self._after(torch.zeros(1, width))[0])
        if wanted.dim is not None and wanted.dim > full:
            raise UserError(
                f"--dim {wanted.dim} exceeds the {full} numbers of a vector of {checkpoint.name}",
                remedy=f"give at most {full}",
            )
        self.dim = wanted.dim or full
        self._backend = backend_copy(tokenizer, "cls_token_id", "embedding")
        self._head = Head("embedding", AutoModel, targets=_never_trained, outputs=self._vectors, loss=_never_trained)

    def __call__(self, texts: Sequence[str], advance: Advance) -> Array | None:
        """Vectors of texts, float32 [texts, dim]; None on all processes but the first."""
        features = self._encode(texts)
        outputs = outputs_of(
            self.model,
            self._head,
            features,
            self.codec,
            self._batch_size,
            bf16=self.bf16,
            advance=advance,
        )
        if outputs is None:
            return None
        vectors = np.stack([each["vector"] for each in outputs])[:, : self.dim]
        if self._normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return np.ascontiguousarray(vectors, np.float32)

    def as_parts(self) -> dict[str, Any]:
        """What the vectors depend on besides the weights, as plain values."""
        return {
            "dim": self.dim,
            "max_length": self.max_length,
            "modules": len(self.settings.dense) + self.settings.normalize,
            "normalized": self._normalize or self.settings.normalize,
            "pooling": self.pooling,
            "prompt": self.prompt,
        }

    def _vectors(self, model: PreTrainedModel, batch: Batch) -> Batch:
        vectors = pooled(states_of(model, batch), batch["attention_mask"], self.pooling)
        with torch.autocast(vectors.device.type, enabled=False):
            return {"vector": self._after(vectors)}

    def _encode(self, texts: Sequence[str]) -> Columns:
        """The features of texts. Longer ones are cut, and counted."""
        inputs = [self.prompt + text for text in texts]
        if self.settings.lowercase:
            inputs = [text.lower() for text in inputs]
        side = self.codec.tokenizer.truncation_side
        encodings, cut = encoded(self._backend, inputs, self.max_length, side)
        self.cut += len(cut)
        columns = {"input_ids": [encoding.ids for encoding in encodings]}
        columns["token_type_ids"] = [encoding.type_ids for encoding in encodings]
        return Columns(columns | {"length": [len(encoding) for encoding in encodings]})


def _check_kind(checkpoint: Checkpoint) -> None:
    """Raises UserError for what holds no encoder of texts."""
    graphs = [name for name in ("model.onnx", "encoder_model.onnx") if checkpoint.file(name) is not None]
    if graphs and checkpoint.file("model.safetensors") is None:
        raise UserError(
            f"{checkpoint.name} is an ONNX export, whose graph gives answers and no hidden states",
            remedy="give the run or the checkpoint that it was exported from",
        )
    if checkpoint.config.is_encoder_decoder:
        raise UserError(
            f"{checkpoint.name} is an encoder-decoder, which writes texts", remedy="give an encoder, such as a BERT"
        )


def _prompt(name: str, settings: SentenceSettings, wanted: str | None) -> str:
    """The text to put before each text."""
    named = settings.prompt if wanted is None else wanted
    if not named:
        return ""
    if named not in settings.prompts and wanted is not None and not any(sign in wanted for sign in ": \n"):
        raise UserError(
            f"{name} has no prompt named {wanted!r}{did_you_mean(wanted, settings.prompts)}",
            remedy=f"its prompts are {', '.join(settings.prompts) or 'none'}; one of your own ends in a space or :",
        )
    prompt = settings.prompts.get(named, named if wanted is not None else "")
    if prompt and not settings.prompt_pooled:
        raise UserError(
            f"{name} leaves the tokens of a prompt out of its mean, which is not done here",
            remedy="use sentence-transformers for it",
        )
    return prompt


def _max_length(checkpoint: Checkpoint, settings: SentenceSettings, own: int, wanted: int | None) -> int:
    """The longest text in tokens."""
    positions = checkpoint.positions
    if wanted is not None:
        if positions is not None and wanted > positions:
            raise UserError(
                f"--max-length {wanted} exceeds the {positions} positions of {checkpoint.name}",
                remedy=f"give at most {positions}",
            )
        return wanted
    limits = [limit for limit in (settings.max_length, positions, own if own < NO_LIMIT else None) if limit is not None]
    return min(limits, default=USUAL)


def _never_trained(*_: Any, **__: Any) -> Any:
    raise NotImplementedError  # an Embedder only computes vectors
