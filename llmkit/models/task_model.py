"""A task's model and what it reads and writes with: those to train, or those that are trained."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from llmkit.corpus.tokenizer import load_tokenizer, tokenizer_fingerprint
from llmkit.models.checkpoint import labels_of, model_for_task, trained_model
from llmkit.models.encoder_decoder import codec_of_trained, encoder_decoder, text_codec
from llmkit.recipes.finetuning import DataSection, FinetuneRecipe, TextData, TextRecipe
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.tasks.base import Codec, Task
from llmkit.tasks.label.labels import SHOWN, numbered, strangers
from llmkit.tasks.tags import tags

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel


def codec_to_train(recipe: FinetuneRecipe, task: Task[Any], train: Dataset) -> Codec:
    """What a model is to read and write with, by its recipe and training examples. Raises UserError."""
    if isinstance(recipe, TextRecipe):
        return text_codec(recipe, train)
    return Codec(load_tokenizer(str(recipe.model.tokenizer or recipe.model.pretrained)), labels=task.labels(train))


def model_to_train(recipe: FinetuneRecipe, task: Task[Any], codec: Codec) -> PreTrainedModel:
    """The model to train; its fresh weights follow from the recipe's seed. Raises UserError."""
    from transformers import set_seed

    set_seed(recipe.train.seed)
    if isinstance(recipe, TextRecipe):
        return encoder_decoder(recipe, codec)
    return model_for_task(recipe, task.head, codec)


def trained(name: str, task: Task[Any], data: DataSection) -> tuple[PreTrainedModel, Codec]:
    """A run's model or a checkpoint that does a task, and what it reads and writes with. Raises UserError."""
    if isinstance(data, TextData):
        model, codec = trained_model(name, task.head), codec_of_trained(name)
        assert model.generation_config is not None
        model.generation_config.decoder_start_token_id = codec.decoder_start
        _limit(model, data)
        return model, codec
    tokenizer = load_tokenizer(name)
    model = trained_model(name, task.head)
    if task.head == "span":
        return model, Codec(tokenizer)
    labels, known = labels_of(model), task.labels(None)
    if known and len(labels) != len(known):
        raise UserError(
            f"{name} has {_counted(labels)}, {task.name} {_counted(known)}", remedy="name another task with --task"
        )
    return model, Codec(tokenizer, labels=_named_as(known, labels))


def _limit(model: PreTrainedModel, data: TextData) -> None:
    """How long a text may be that the model writes: as `data` says, or the checkpoint itself, where one of them does.

    Where neither does, transformers would stop after 20 tokens.
    """
    settings = model.generation_config
    assert settings is not None
    own = settings.max_new_tokens or (settings.max_length and settings.max_length - 1)  # that counts the first token
    said = "max_target_length" in data.model_fields_set or not own
    settings.update(max_new_tokens=data.max_target_length if said else own, max_length=None)


def _named_as(known: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of a checkpoint by the names that its task has for them.

    Checkpoints of others often number their labels, in the order of the data set, or write them otherwise.
    """
    if all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        return known or tuple(label.removeprefix("LABEL_") for label in labels)
    written = {label.lower(): label for label in known}
    return tuple(written.get(label.lower(), label) for label in labels)


def check_labels(name: str, codec: Codec, examples: Dataset) -> None:
    """Say how many examples have a label that a model does not know; raises UserError where all of them have."""
    if not set(codec.labels) & set(examples["label"][:]):
        raise UserError(
            f"{name} knows none of the labels of the data: it has {_counted(codec.labels)}, "
            f"the data {_counted(numbered(examples['label']))}",
            remedy="name other data, or what its labels mean: id2label in its config.json",
        )
    if unknown := strangers(examples, codec.labels, f"{name} does not know"):
        warn(unknown)


def check_tags(name: str, codec: Codec, examples: Dataset) -> None:
    """Say how many words have a tag that a model does not know; raises UserError where no entity's tag is known."""
    wanted = {tag for sentence in examples["tags"] for tag in sentence} - {tags.OUTSIDE}
    if wanted and not wanted & set(codec.labels):
        raise UserError(
            f"{name} knows none of the tags of the data: it has {_counted(codec.labels)}, the data "
            f"{_counted(tuple(sorted(wanted)))}",
            remedy="name other data, or what its labels mean: id2label in its config.json",
        )
    if unknown := tags.strangers(examples, codec.labels, f"{name} does not know"):
        warn(unknown)


def _counted(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:SHOWN]) + (", …" if len(labels) > SHOWN else "")
    return f"{len(labels)} label{'s' if len(labels) != 1 else ''} ({shown})"


def model_fingerprint(model: PreTrainedModel, codec: Codec) -> str:
    """Hash of all that decides what a model says of a text: weights, configuration, vocabularies, labels."""
    import torch

    settings = [model.config.to_dict(), model.generation_config.to_dict() if model.can_generate() else None]
    words = [tokenizer_fingerprint(codec.tokenizer), tokenizer_fingerprint(codec.target_tokenizer), *codec.labels]
    found = hashlib.sha256(json.dumps([settings, words], sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:20]
