"""How a model turns the states of a text's tokens into one vector: what a folder of sentence-transformers says of it.

    modules.json                        the modules, in order: Transformer, Pooling, and perhaps Dense and Normalize
    1_Pooling/config.json               how states are pooled
    config_sentence_transformers.json   prompts, which are put before texts
    sentence_bert_config.json           the longest text, and whether texts are lowercased

A model without these files has the mean of its last hidden states, or what its config.json says: see POOLING.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from llmkit.models.checkpoint import Checkpoint
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text

Pooling = Literal["mean", "cls", "max"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
POOLING = "sentence_pooling"  # the key of config.json that says it: a checkpoint of a training has no other file
ACTIVATIONS = {"torch.nn.modules.activation.Tanh": "tanh", "torch.nn.modules.linear.Identity": "identity"}
REMEDY = "use a model of a Transformer, a Pooling of mean, cls or max, Dense and Normalize, or sentence-transformers"


@dataclass(frozen=True)
class Dense:
    """A layer behind the pooling: the file of its weights, and its activation."""

    weights: Path
    activation: str


@dataclass(frozen=True)
class SentenceSettings:
    """How one vector is made.

    max_length      tokens, if the model says so
    lowercase       whether texts are lowercased first
    normalize       whether vectors get length 1 in the model
    prompts         texts to put before a text, by name; `prompt` is the name of the default one
    prompt_pooled   whether the tokens of a prompt count in the mean
    """

    pooling: Pooling = "mean"
    dense: tuple[Dense, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    lowercase: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    prompt: str | None = None
    prompt_pooled: bool = True


def settings_of_sentences(checkpoint: Checkpoint) -> SentenceSettings:
    """The settings that a model's files give. Raises UserError for modules that are not read here."""
    listed = _json(checkpoint, "modules.json")
    if listed is None:
        own = getattr(checkpoint.config, POOLING, "mean")
        return SentenceSettings(pooling=_pooling(checkpoint, own))
    pooling: Pooling | None = None
    dense: list[Dense] = []
    normalize, prompt_pooled = False, True
    for number, module in enumerate(listed):
        kind, folder = str(module["type"]).rpartition(".")[2], str(module.get("path", ""))
        if number == 0 and kind == "Transformer" and not folder:
            continue
        if kind == "Pooling" and pooling is None:
            options = _json(checkpoint, f"{folder}/config.json")
            if options is None:
                warn(f"{checkpoint.name} lacks {folder}/config.json: states are pooled by their mean")
                options = {}
            pooling, prompt_pooled = _pooling(checkpoint, _mode(options)), options.get("include_prompt", True)
        elif kind == "Dense" and pooling is not None and not normalize:
            dense.append(_dense(checkpoint, folder))
        elif kind == "Normalize" and pooling is not None:
            normalize = True
        else:
            where = f" in the folder {folder}" if folder else ""
            late = " after a Normalize" if kind == "Dense" and normalize else ""
            raise UserError(f"{checkpoint.name} has a module that is not read here: {kind}{late}{where}", remedy=REMEDY)
    if pooling is None:
        raise UserError(f"{checkpoint.name} has no Pooling in its modules.json", remedy=REMEDY)
    text = _json(checkpoint, "sentence_bert_config.json") or {}
    prompts = _json(checkpoint, "config_sentence_transformers.json") or {}
    return SentenceSettings(
        pooling,
        tuple(dense),
        normalize,
        text.get("max_seq_length"),
        bool(text.get("do_lower_case")),
        prompts.get("prompts") or {},
        prompts.get("default_prompt_name"),
        bool(prompt_pooled),
    )


def _pooling(checkpoint: Checkpoint, mode: Any) -> Pooling:
    for known in POOLINGS:
        if mode == known:
            return known
    raise UserError(f"{checkpoint.name} pools its states by {mode}, which is not read here", remedy=REMEDY)


def _mode(options: Mapping[str, Any]) -> Any:
    """The mode of a Pooling; before version 5.4 a flag for each mode said it."""
    if "pooling_mode" in options:
        return options["pooling_mode"]
    on = [name for name, value in options.items() if name.startswith("pooling_mode_") and value is True]
    names = [name.removeprefix("pooling_mode_").removesuffix("_token").removesuffix("_tokens") for name in on]
    return names[0] if len(names) == 1 else " and ".join(names) or "mean"


def _dense(checkpoint: Checkpoint, folder: str) -> Dense:
    options = _json(checkpoint, f"{folder}/config.json") or {}
    activation = ACTIVATIONS.get(str(options.get("activation_function")))
    weights = checkpoint.file(f"{folder}/model.safetensors")
    if activation is None or weights is None:
        what = "its weights are not in safetensors" if weights is None else f"{options.get('activation_function')}"
        raise UserError(f"{checkpoint.name} has a Dense module that is not read here: {what}", remedy=REMEDY)
    return Dense(weights, activation)


def _json(checkpoint: Checkpoint, name: str) -> Any:
    """The content of one of its files; None if it has none."""
    file = checkpoint.file(name)
    return None if file is None else parse_json(read_text(file), file)
