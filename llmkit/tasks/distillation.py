"""Distillation: a model learns from the outputs of a teacher beside the gold answers, or instead of them.

Hinton, Vinyals and Dean, arXiv:1503.02531. Divergences are given for each target, in the shape of the labels, so that
they are divided as every other loss is: by the targets of the whole step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, logsigmoid

from llmkit.models.collator import Batch
from llmkit.models.relations import common_heads, relations_apart
from llmkit.tasks.values import IGNORED

Logits = Mapping[str, Any]
# (the model's outputs, the teacher's logits, the attention mask, temperature) → the divergence of each target.
Divergence = Callable[[Logits, Logits, Tensor, float], Tensor]
Loss = Callable[..., Tensor]

UNKNOWN = -1  # a target that only the teacher can tell, where targets are numbers of classes or tokens; else NaN
# The segments of the tokens, for a teacher that reads them where the model to train does not.
TYPES = "teacher_token_type_ids"
_FAR = -1e9  # a logit of no probability: finite, so that 0 times its logarithm is 0


def of_classes(outputs: Logits, taught: Logits, attention_mask: Tensor, temperature: float) -> Tensor:
    """The divergence of one distribution over the last dimension of `logits`, [B] or [B, L]."""
    return _divergence(outputs["logits"], taught["logits"], temperature)


def of_spans(outputs: Logits, taught: Logits, attention_mask: Tensor, temperature: float) -> Tensor:
    """The divergences of the start and of the end over the tokens of a window, [B, 2]."""
    padding = attention_mask == 0
    ends = []
    for name in ("start_logits", "end_logits"):
        own, theirs = (each[name].float().masked_fill(padding, _FAR) for each in (outputs, taught))
        ends.append(_divergence(own, theirs, temperature))
    return torch.stack(ends, dim=1)


def of_labels(outputs: Logits, taught: Logits, attention_mask: Tensor, temperature: float) -> Tensor:
    """The divergence of each label, which is given or not, [B, labels]."""
    own, theirs = (each["logits"].float() / temperature for each in (outputs, taught))
    likely = theirs.sigmoid()
    entropy = -(likely * logsigmoid(theirs) + (1 - likely) * logsigmoid(-theirs))
    apart: Tensor = binary_cross_entropy_with_logits(own, likely, reduction="none") - entropy
    return apart * temperature**2


def of_numbers(outputs: Logits, taught: Logits, attention_mask: Tensor, temperature: float) -> Tensor:
    """The squared difference of the numbers, [B]. There is nothing that a temperature would soften."""
    difference: Tensor = (outputs["logits"].float() - taught["logits"].float()).squeeze(-1)
    return difference.square()


def _divergence(own: Tensor, theirs: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler from the teacher, over the last dimension; times T², so that gradients keep their size."""
    classes = min(own.shape[-1], theirs.shape[-1])  # vocabularies may be filled up to another number
    found, wanted = (log_softmax(each[..., :classes].float() / temperature, dim=-1) for each in (own, theirs))
    return (wanted.exp() * (wanted - found)).sum(dim=-1) * temperature**2


class DistilledLoss:
    """(1 - weight) · a task's own loss + weight · the divergence from a teacher.

    For a target that only the teacher can tell, the divergence is all there is. Where targets are no classes, the
    teacher's own answer also takes the place of the gold one. `teacher` computes logits from the inputs of a
    micro-batch.
    """

    def __init__(
        self,
        own: Loss,
        teacher: Callable[[Batch], Logits],
        divergence: Divergence,
        *,
        weight: float,
        temperature: float,
        states: bool = False,
    ) -> None:
        self._own, self._teacher, self._divergence = own, teacher, divergence
        self._weight, self._temperature, self._states = weight, temperature, states

    def on(self, inputs: dict[str, Any]) -> Loss:
        """The loss of a micro-batch. Takes what only the teacher reads out of its `inputs`, and asks for states."""
        given = {name: tensor for name, tensor in inputs.items() if name not in ("labels", TYPES)}
        if self._states:
            inputs["output_hidden_states"] = True
        if (types := inputs.pop(TYPES, None)) is not None:
            given["token_type_ids"] = types
        return partial(self, inputs=given)

    def __call__(
        self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None, *, inputs: Batch
    ) -> Tensor:
        mask, taught = inputs["attention_mask"], self._teacher(inputs)
        count = labels.ne(IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        apart = self._divergence(outputs, taught, mask, self._temperature)
        if self._states:  # those of a row count for each of its targets
            apart = apart + states_apart(outputs, taught, inputs).view(-1, *[1] * (apart.ndim - 1))
        weights: Tensor | float = self._weight
        if labels.is_floating_point():
            gold = torch.where(labels.isnan(), _answers(taught["logits"], labels), labels)
        else:
            unknown = labels == UNKNOWN
            gold, weights = labels.masked_fill(unknown, IGNORED), unknown.float().clamp(min=self._weight)
        soft = (weights * apart).masked_fill(labels == IGNORED, 0.0).sum() / count
        own = self._own(outputs, gold, num_items_in_batch=count, attention_mask=mask)
        return (1 - self._weight) * own + soft


def states_apart(outputs: Logits, taught: Logits, inputs: Batch) -> Tensor:
    """How far the relations between the hidden states of tokens are from the teacher's, in nats per token, [B].

    The mean over the layers of the model to train. Each is compared with the teacher's at the same share of its depth.
    """
    mask = inputs["attention_mask"]
    own, theirs = (hidden_states(each, inputs) for each in (outputs, taught))
    total = torch.zeros(len(mask), device=mask.device)
    for number, mine in enumerate(own, start=1):
        # A share of half a layer or less, in a student deeper than its teacher, is the teacher's first.
        wanted = theirs[max(1, round(number * len(theirs) / len(own))) - 1]
        heads = common_heads(mine.shape[-1], wanted.shape[-1])
        per_token = relations_apart(mine[:, None], wanted[:, None], heads, mask[:, None, None] > 0)
        total = total + (per_token * mask).sum(1) / mask.sum(1)
    return total / len(own)


def hidden_states(outputs: Logits, inputs: Batch) -> list[Tensor]:
    """The hidden states behind each layer of an encoder, [B, L, H]; zeros for padding that the layers did not see."""
    rows, length = inputs["attention_mask"].shape
    states = outputs["hidden_states"] if "hidden_states" in outputs else outputs["encoder_hidden_states"]
    if states[-1].shape[:2] == (rows, length) and states[1].shape[:2] == (rows, length):
        return list(states[1:])
    places = inputs["token_places"]
    filled = [each.new_zeros(rows * length + 1, each.shape[-1]).index_copy(0, places, each[0]) for each in states[1:]]
    return [each[:-1].unflatten(0, (rows, length)) for each in filled]


def _answers(logits: Tensor, labels: Tensor) -> Tensor:
    """What a teacher says in place of labels that are no classes: numbers [B], or probabilities [B, labels]."""
    return logits.float().squeeze(-1) if labels.ndim == 1 else logits.float().sigmoid()


def loss_of(loss: Loss, inputs: Batch) -> Loss:
    """The loss of a micro-batch with these inputs, as a function of outputs and labels."""
    return (
        loss.on(inputs) if isinstance(loss, DistilledLoss) else partial(loss, attention_mask=inputs["attention_mask"])
    )
