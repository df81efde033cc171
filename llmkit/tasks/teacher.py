"""The teacher of a distillation: loaded, checked against the model that learns from it, and asked for its logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmkit.models.checkpoint import Checkpoint, check_length, describe
from llmkit.models.collator import Batch
from llmkit.models.packed_attention import uses_kernel
from llmkit.models.unpadded import unpad
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.errors import UserError
from llmkit.tasks.base import Task
from llmkit.tasks.inference import model_fingerprint
from llmkit.tasks.kept_heads import in_own_order
from llmkit.tasks.values import Codec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LOGITS = ("logits", "start_logits", "end_logits")
STATES = ("hidden_states", "encoder_hidden_states")
LAYOUT = ("token_places", "cu_seq_lens")  # of a batch without padding


@dataclass(frozen=True)
class Teacher:
    """A fine-tuned model that is not trained. Called with the inputs of a micro-batch, it gives its logits.

    order     the place of each label of the model to train among the teacher's outputs; None if it is the same
    standard  the mean and deviation of the numbers that the model to train learns
    """

    name: str
    model: PreTrainedModel
    fingerprint: str
    inputs: frozenset[str]
    order: Tensor | None
    standard: tuple[float, float]
    bf16: bool
    states: bool

    @property
    def reads_types(self) -> bool:
        """Whether it reads the segments of tokens."""
        return "token_type_ids" in self.inputs

    @torch.no_grad()
    def __call__(self, inputs: Batch) -> dict[str, Any]:
        """The logits by name, in the order and the unit of the model to train; and the hidden states, if wanted."""
        device = inputs["input_ids"].device
        if self.model.device != device:
            self.model.to(device)  # type: ignore[arg-type]
        given: dict[str, Any] = {name: tensor for name, tensor in inputs.items() if name in self.inputs}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.model(**given, **({"output_hidden_states": True} if self.states else {}))
        logits: dict[str, Any] = {name: outputs[name].float() for name in LOGITS if name in outputs}
        logits |= {name: outputs[name] for name in STATES if self.states and name in outputs}
        if self.order is not None:
            logits["logits"] = logits["logits"][..., self.order.to(device, non_blocking=True)]
        mean, deviation = self.standard
        if self.standard != (0.0, 1.0):
            logits["logits"] = (logits["logits"] - mean) / deviation
        return logits

    def __str__(self) -> str:
        return f"{self.name} ({describe(self.model)})"


def teacher_of(recipe: FinetuneRecipe, task: Task[Any], codec: Codec, *, bf16: bool, unpadded: bool) -> Teacher:
    """Load the teacher of a recipe. `codec` is of the model to train, which computes without padding if `unpadded`.

    Raises UserError for a model that cannot teach this one: without this task's head, with other labels or another
    vocabulary, or with fewer positions.
    """
    name = str(recipe.model.teacher)
    checkpoint = Checkpoint.named(name)
    model, its = task.load_trained(checkpoint, recipe.data)
    check_length(recipe.data.max_length, checkpoint.positions, f"{name}, the teacher")
    _check_same_tokens(codec.tokenizer, its.tokenizer, name)
    if model.config.is_encoder_decoder:
        _check_same_tokens(codec.target_tokenizer, its.target_tokenizer, name)
    if unpadded:  # else no batch says where its rows are
        unpad(model, bf16=bf16)
    names = {"input_ids", "attention_mask", "decoder_input_ids", *its.tokenizer.model_input_names}
    names |= set(LAYOUT) if uses_kernel(model) else set()
    accepted = signature(model.forward).parameters
    if "decoder_input_ids" not in accepted:
        names.discard("decoder_input_ids")
    model.requires_grad_(requires_grad=False)
    return Teacher(
        name=name,
        model=model.eval(),
        fingerprint=model_fingerprint(model, its),
        inputs=frozenset(names),
        order=_order(its.labels, codec.labels, name),
        standard=codec.standard,
        bf16=bf16,
        states=bool(recipe.model.teacher_hidden_states),
    )


def _order(theirs: Sequence[str], labels: Sequence[str], name: str) -> Tensor | None:
    """Where each of `labels` is among the outputs of the teacher. Raises UserError if they are not the same labels."""
    if len(labels) == len(theirs) < 2:  # none, or a number by any name
        return None
    found = in_own_order(tuple(theirs), tuple(labels))
    if sorted(label.lower() for label in theirs) != sorted(label.lower() for label in labels):
        raise UserError(
            f"the teacher {name} has the labels {_shown(theirs)}, and the data has {_shown(labels)}",
            remedy="a teacher is a model fine-tuned for the same labels",
        )
    places = [found.index(label) for label in labels]
    return torch.tensor(places) if places != sorted(places) else None


def _shown(labels: Sequence[str], most: int = 8) -> str:
    return ", ".join(labels[:most]) + (", …" if len(labels) > most else "") or "(none)"


def _check_same_tokens(own: PreTrainedTokenizerFast, theirs: PreTrainedTokenizerFast, name: str) -> None:
    """Raises UserError if the numbers of the tokens are not those of the teacher's tokenizer."""
    numbers = theirs.get_vocab()
    if any(numbers.get(token) != number for token, number in own.get_vocab().items()):
        raise UserError(
            f"the teacher {name} reads another vocabulary than the model to train: it would see other words",
            remedy="choose a teacher and a model with one vocabulary, as BERT and MiniLM have; or fine-tune a teacher "
            "from a model with this one",
        )
