"""The models of tasks whose head sits on an encoder: to train, or trained already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llmkit.models.checkpoint import Checkpoint, bert_config, check_length, fresh_modules
from llmkit.recipes.finetuning import FinetuneModelSection, FinetuneRecipe
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.tasks.base import Task
from llmkit.tasks.values import Codec

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

SHOWN = 8  # labels in a message


def codec_to_train(task: Task[Any], recipe: FinetuneRecipe, checkpoint: Checkpoint | None, train: Dataset) -> Codec:
    """See Task."""
    source = checkpoint or Checkpoint.named(str(recipe.model.tokenizer))
    return Codec(source.tokenizer(), labels=task.labels(train))


def model_to_train(
    task: Task[Any], recipe: FinetuneRecipe, checkpoint: Checkpoint | None, codec: Codec
) -> PreTrainedModel:
    """See Task."""
    shape, head = recipe.model.config, task.head
    if shape is not None:
        check_length(recipe.data.max_length, shape.max_position_embeddings, "model.config")
        config = bert_config(shape, codec.tokenizer)
        _set_labels(config, codec.labels)
        return head.fresh(config)
    assert checkpoint is not None
    checkpoint.check_vocabulary(codec.tokenizer)
    config = deepcopy(checkpoint.config)
    set_attention_dropout(config, recipe.model)
    _set_labels(config, codec.labels)
    model: PreTrainedModel
    model, info = checkpoint.load(head.auto, config=config, ignore_mismatched_sizes=bool(codec.labels))
    if fresh := fresh_modules(info, pooler=head.pooler):
        say(f"{checkpoint.name} has no such {head.noun} head yet: {', '.join(fresh)} starts from random weights")
    check_length(recipe.data.max_length, checkpoint.positions, checkpoint.name)
    return model


def trained(task: Task[Any], checkpoint: Checkpoint) -> tuple[PreTrainedModel, Codec]:
    """See Task."""
    tokenizer = checkpoint.tokenizer()
    model, info = checkpoint.load(task.head.auto)
    if fresh_modules(info, pooler=task.head.pooler):
        raise lacks_head(task, checkpoint)
    if not task.labelled:
        return model, Codec(tokenizer)
    known, labels = task.labels(None), _labels_of(model)
    if known and len(labels) != len(known):
        raise UserError(
            f"{checkpoint.name} has {counted(labels)}, {task.name} {counted(known)}",
            remedy="name another task with --task",
        )
    return model, Codec(tokenizer, labels=_named_as(known, labels))


def lacks_head(task: Task[Any], checkpoint: Checkpoint) -> UserError:
    """The error for a checkpoint that was not trained for such a task."""
    had = ", ".join(checkpoint.config.architectures or []) or checkpoint.config.model_type
    return UserError(
        f"{checkpoint.name} has no {task.head.noun} head (it is a {had})",
        remedy=f"fine-tune it first: llmkit finetune --task TASK model.pretrained={checkpoint.name}",
    )


def set_attention_dropout(config: Any, section: FinetuneModelSection) -> None:
    """Set a checkpoint's attention dropout to the recipe's."""
    for key in ("attention_probs_dropout_prob", "attention_dropout"):  # BERT's name, and that of others
        if hasattr(config, key):
            setattr(config, key, section.attention_probs_dropout_prob or 0.0)


def counted(labels: Sequence[str]) -> str:
    """`3 labels (a, b, c)`."""
    shown = ", ".join(labels[:SHOWN]) + (", …" if len(labels) > SHOWN else "")
    return f"{len(labels)} label{'s' if len(labels) != 1 else ''} ({shown})"


def _set_labels(config: Any, labels: tuple[str, ...]) -> None:
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
        # transformers takes a single output for a share, and a checkpoint may carry the type of its former head.
        config.problem_type = "regression" if len(labels) == 1 else None


def _labels_of(model: PreTrainedModel) -> tuple[str, ...]:
    names: dict[Any, str] = dict(model.config.id2label or {})
    return tuple(names[number] for number in sorted(names, key=int))


def _named_as(known: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """A checkpoint's labels under the task's names.

    Many checkpoints number their labels in the order of the dataset, or spell them in another case.
    """
    if all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        return known or tuple(label.removeprefix("LABEL_") for label in labels)
    spelled = {label.lower(): label for label in known}
    return tuple(spelled.get(label.lower(), label) for label in labels)
