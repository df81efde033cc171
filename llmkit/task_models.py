"""A task's model and what it reads and writes with: those to train, or those that are trained."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from llmkit.corpus.vocabulary import load_tokenizer, tokenizer_fingerprint
from llmkit.encoder_decoder import codec_of_trained, encoder_decoder, text_codec
from llmkit.errors import UserError
from llmkit.finetune_recipe import FinetuneRecipe, TextRecipe
from llmkit.models import labels_of, model_for_task, trained_model
from llmkit.tasks.base import Codec, Task

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


def trained(name: str, task: Task[Any]) -> tuple[PreTrainedModel, Codec]:
    """A run's model or a checkpoint that does a task, and what it reads and writes with. Raises UserError."""
    if task.head == "text":
        return trained_model(name, task.head), codec_of_trained(name)
    tokenizer = load_tokenizer(name)
    model = trained_model(name, task.head)
    if task.head == "span":
        return model, Codec(tokenizer)
    labels, known = labels_of(model), task.labels(None)
    # Checkpoints of others often number their labels, in the order of the data set.
    if known and all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        if len(labels) != len(known):
            raise UserError(
                f"{name} has {len(labels)} labels, {task.name} has {len(known)}", remedy="name another task with --task"
            )
        labels = known
    return model, Codec(tokenizer, labels=labels)


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
