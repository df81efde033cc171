"""Tasks with a head on an encoder: build the model to train, or load a fine-tuned one."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llmkit.models.checkpoint import (
    Checkpoint,
    check_length,
    fresh_config,
    fresh_modules,
    set_attention_dropout,
    zero_unused,
)
from llmkit.models.vocabulary import check_vocabulary, grow_embeddings
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.tasks.kept_heads import (
    MAX_SHOWN,
    in_own_order,
    labels_of,
    own_labels,
    say_what_they_are,
    settle_head,
    unnamed,
)
from llmkit.tasks.values import Codec

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from llmkit.tasks.base import Task


def codec_to_train(task: Task[Any], recipe: FinetuneRecipe, checkpoint: Checkpoint | None, train: Dataset) -> Codec:
    """See Task."""
    source = checkpoint or Checkpoint.named(str(recipe.model.tokenizer))
    labels = task.labels(train)
    if checkpoint is not None and labels:
        labels = in_own_order(own_labels(checkpoint, task.head), labels)
    tokenizer = source.tokenizer()
    if (shape := recipe.model.config) is not None:
        from llmkit.models.capabilities import fit_inputs, skeleton

        fit_inputs(tokenizer, skeleton(fresh_config(shape, tokenizer)))
    return Codec(tokenizer, labels=labels)


def model_to_train(
    task: Task[Any], recipe: FinetuneRecipe, checkpoint: Checkpoint | None, codec: Codec
) -> tuple[PreTrainedModel, bool]:
    """The model of Task.model_to_train, and whether it keeps the checkpoint's own outputs."""
    shape, head = recipe.model.config, task.head
    if shape is not None:
        check_length(recipe.data.max_length, shape.max_position_embeddings, "model.config")
        config = fresh_config(shape, codec.tokenizer)
        _set_labels(config, codec.labels, task.problem_type)
        return head.auto.from_config(config), False
    assert checkpoint is not None
    check_length(recipe.data.max_length, checkpoint.positions, checkpoint.name)
    check_vocabulary(codec.tokenizer, checkpoint.config.vocab_size, checkpoint.name, may_grow=True)
    config = deepcopy(checkpoint.config)
    set_attention_dropout(config, recipe.model)
    _set_labels(config, codec.labels, task.problem_type)
    model: PreTrainedModel
    model, info = checkpoint.load(head.auto, config=config, ignore_mismatched_sizes=bool(codec.labels))
    if fresh := fresh_modules(info, pooler=head.pooler):
        say(f"{checkpoint.name} has no {head.noun} head for this task: {', '.join(fresh)} starts from random weights")
    kept = False
    if codec.labels:
        kept = settle_head(model, head, own_labels(checkpoint, head), codec.labels, info, checkpoint.name)
    grow_embeddings(model, codec.tokenizer, checkpoint.name)
    return model, kept


def load_trained(task: Task[Any], checkpoint: Checkpoint) -> tuple[PreTrainedModel, Codec]:
    """See Task."""
    tokenizer = checkpoint.tokenizer()
    check_vocabulary(tokenizer, checkpoint.config.vocab_size, checkpoint.name, may_grow=False)
    model, info = checkpoint.load(task.head.auto)
    if fresh_modules(info, pooler=task.head.pooler):
        raise missing_head(task, checkpoint)
    zero_unused(model, info)
    if not task.labelled:
        return model, Codec(tokenizer)
    known, labels = task.labels(None), labels_of(model.config)
    if known and len(labels) != len(known):
        raise UserError(
            f"{checkpoint.name} has {describe_labels(labels)}, but {task.name} has {describe_labels(known)}",
            remedy="name another task with --task",
        )
    named = _normalized(labels, known)
    if known and unnamed(labels):
        say_what_they_are(checkpoint.name, labels, named)
    return model, Codec(tokenizer, labels=named)


def missing_head(task: Task[Any], checkpoint: Checkpoint) -> UserError:
    """The error for a checkpoint that was not fine-tuned for this kind of task."""
    had = ", ".join(checkpoint.config.architectures or []) or checkpoint.config.model_type
    return UserError(
        f"{checkpoint.name} has no {task.head.noun} head (it is a {had})",
        remedy=f"fine-tune it first: llmkit finetune --task TASK model.pretrained={checkpoint.name}",
    )


def describe_labels(labels: Sequence[str]) -> str:
    """`3 labels (a, b, c)`."""
    shown = ", ".join(labels[:MAX_SHOWN]) + (", …" if len(labels) > MAX_SHOWN else "")
    return f"{len(labels)} label{'s' if len(labels) != 1 else ''} ({shown})"


def _set_labels(config: Any, labels: tuple[str, ...], problem_type: str | None) -> None:
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
        # Unless this says regression, transformers' pipeline applies a sigmoid to a single output. Otherwise clear the
        # type, which may be that of the checkpoint's previous head.
        config.problem_type = "regression" if len(labels) == 1 else problem_type


def _normalized(labels: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """A checkpoint's labels, spelled as in the task's `known` labels.

    Many checkpoints have labels LABEL_0, LABEL_1 and so on in the dataset's order, or the same names in another case.
    """
    if unnamed(labels):
        return known or tuple(label.removeprefix("LABEL_") for label in labels)
    spelled = {label.lower(): label for label in known}
    return tuple(spelled.get(label.lower(), label) for label in labels)
