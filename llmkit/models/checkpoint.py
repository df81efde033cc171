"""Recipe → model: a BERT from its shape, a checkpoint with the task's head, a masked-LM head that computes
only what the loss reads."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, BertConfig, PreTrainedModel, PreTrainedTokenizerFast

from llmkit.models.heads import HEADS
from llmkit.recipes.finetuning import FinetuneModelSection, FinetuneRecipe, Head
from llmkit.recipes.pretraining import BertShape
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.hub import reading_from_the_hub
from llmkit.system.run_folder import resolve_model
from llmkit.tasks.base import Codec


def model_for_task(recipe: FinetuneRecipe, head: Head, codec: Codec) -> PreTrainedModel:
    """A model to fine-tune: a checkpoint's encoder, or a BERT of random weights, with the task's head.

    Raises UserError where the checkpoint cannot be loaded or does not suit the tokenizer or the length of inputs.
    """
    section, max_length = recipe.model, recipe.data.max_length
    kind = HEADS[head]
    if section.config is not None:
        name, positions = "model.config", section.config.max_position_embeddings
        config = bert_config(section.config, codec.tokenizer)
        _set_labels(config, codec.labels)
        model: PreTrainedModel = kind.fresh(config)
    else:
        assert section.pretrained is not None
        name, path = section.pretrained, resolve_model(section.pretrained)
        config = config_of(path)
        check_vocabulary(codec.tokenizer, config, name)
        positions = getattr(config, "max_position_embeddings", max_length)
        set_attention_dropout(config, section)
        _set_labels(config, codec.labels)
        model, info = load(kind.auto, path, config=config, ignore_mismatched_sizes=bool(codec.labels))
        if fresh := fresh_modules(info, pooler=head == "label"):
            say(f"{name} has no such {kind.noun} head yet: {', '.join(fresh)} starts from random weights")
    check_length(max_length, positions, name)
    return model


def check_length(length: int, positions: int, name: str, key: str = "max_length") -> None:
    """Raises UserError where texts may be longer than a model can read, or write."""
    if length > positions:
        stride = " (and a data.doc_stride, where there is one, of a third of it)" if key == "max_length" else ""
        raise UserError(
            f"data.{key} {length} exceeds the {positions} positions of {name}",
            remedy=f"set data.{key}={positions}{stride}",
        )


def _set_labels(config: Any, labels: tuple[str, ...]) -> None:
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
        # With one output others would take it for a share, and a checkpoint may say so of the head it had.
        config.problem_type = "regression" if len(labels) == 1 else None


def set_attention_dropout(config: Any, section: FinetuneModelSection) -> None:
    """Attention dropout of a checkpoint as the recipe says."""
    for key in ("attention_probs_dropout_prob", "attention_dropout"):  # BERT's name, and that of others
        if hasattr(config, key):
            setattr(config, key, section.attention_probs_dropout_prob or 0.0)


def trained_model(name: str, head: Head) -> PreTrainedModel:
    """A model that has the head already, to evaluate or to ask. Raises UserError where it has another."""
    path = resolve_model(name)
    config = config_of(path)
    noun = HEADS[head].noun
    had = ", ".join(config.architectures or []) or config.model_type
    wrong = UserError(
        f"{name} has no {noun} head (it is a {had})",
        remedy=f"fine-tune it first: llmkit finetune --task TASK model.pretrained={name}",
    )
    if head == "text" and not config.is_encoder_decoder:
        raise wrong
    model: PreTrainedModel
    model, info = load(HEADS[head].auto, path)
    if fresh_modules(info, pooler=head == "label"):
        raise wrong
    return model


def labels_of(model: PreTrainedModel) -> tuple[str, ...]:
    """The labels of a model that has some, by number."""
    names: dict[Any, str] = dict(model.config.id2label or {})
    return tuple(names[number] for number in sorted(names, key=int))


def positions_of(name: str) -> tuple[int | None, int | None]:
    """The longest text that a run's model or a checkpoint reads, and that its decoder writes, in tokens.

    None where there is no limit.
    """
    config = config_of(resolve_model(name))
    halves = (config.encoder, config.decoder) if config.model_type == "encoder-decoder" else (config, config)
    reads, writes = (getattr(half, "max_position_embeddings", None) for half in halves)
    return reads, writes


def describe(model: PreTrainedModel) -> str:
    """One line: class, layers, width, parameters."""
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    halves = [config.encoder, config.decoder] if config.model_type == "encoder-decoder" else [config]
    shape = " + ".join(
        f"{getattr(half, 'num_hidden_layers', '?')} × {getattr(half, 'hidden_size', '?')}" for half in halves
    )
    return f"{type(model).__name__}, {shape}, {parameters / 1e6:.1f} M parameters"


def bert_config(shape: BertShape, tokenizer: PreTrainedTokenizerFast) -> BertConfig:
    """The configuration of a BERT of this shape for this vocabulary."""
    return BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape.model_dump())


def config_of(path: str) -> Any:
    """A checkpoint's configuration. Raises UserError where there is none that transformers reads."""
    try:
        with reading_from_the_hub("model", path):
            return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be loaded: {str(error).splitlines()[0]}",
            remedy="give a checkpoint that transformers' AutoConfig reads",
        ) from error


def check_vocabulary(tokenizer: PreTrainedTokenizerFast, config: Any, name: str) -> None:
    if len(tokenizer) > config.vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer):,} tokens, the vocabulary of {name} {config.vocab_size:,}",
            remedy="use the tokenizer that the checkpoint was trained with",
        )


def load(kind: Any, path: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Weights in float32 from safetensors, and what was missing among them."""
    try:
        with reading_from_the_hub("model", path):
            model, info = kind.from_pretrained(
                path,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be loaded: {str(error).splitlines()[0]}",
            remedy="llmkit reads safetensors only; convert other checkpoints with transformers",
        ) from error
    return model, info


def fresh_modules(info: dict[str, Any], *, pooler: bool = False) -> list[str]:
    """Modules that the checkpoint did not hold, or in another size. Few heads use the pooler."""
    names = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    modules = {"pooler" if ".pooler." in name else name.split(".")[0] for name in names}
    return sorted(modules if pooler else modules - {"pooler"})
