"""The head of a checkpoint that is fine-tuned further: kept if it has the task's labels, else begun afresh."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llmkit.models.checkpoint import Checkpoint
from llmkit.system.console import say

if TYPE_CHECKING:
    from llmkit.tasks.head import Head

MAX_SHOWN = 8  # labels listed in a message


def own_labels(checkpoint: Checkpoint, head: Head) -> tuple[str, ...] | None:
    """The names of the outputs of the checkpoint's own head; None if its configuration says that it has another."""
    ending = head.auto.__name__.removeprefix("AutoModel")  # ForSequenceClassification
    architectures = checkpoint.config.architectures
    return labels_of(checkpoint.config) if not architectures or architectures[0].endswith(ending) else None


def labels_of(config: Any) -> tuple[str, ...]:
    """The names of a configuration's outputs, in order."""
    names: dict[Any, str] = dict(config.id2label or {})
    return tuple(names[number] for number in sorted(names, key=int))


def unnamed(labels: Sequence[str]) -> bool:
    """Whether outputs have the names LABEL_0, LABEL_1 and so on, which transformers gives them."""
    return all(re.fullmatch(r"LABEL_\d+", label) for label in labels)


def say_what_they_are(name: str, own: Sequence[str], labels: Sequence[str]) -> None:
    """Say which labels the outputs of a checkpoint without names, LABEL_0 and so on, are taken for."""
    pairs = [f"{theirs} is {ours}" for theirs, ours in zip(own, labels, strict=True)]
    shown = ", ".join(pairs[:MAX_SHOWN]) + (", …" if len(pairs) > MAX_SHOWN else "")
    say(f"{name} does not name its outputs; assuming that {shown}")


def in_own_order(own: tuple[str, ...] | None, labels: tuple[str, ...]) -> tuple[str, ...]:
    """A task's labels in the order of a head that has the same ones, perhaps in another case; else as they are."""
    if own is None or sorted(own) == sorted(labels):
        return own or labels
    spelled = {label.lower(): label for label in labels}
    found = tuple(spelled.get(label.lower(), "") for label in own)
    return found if sorted(found) == sorted(labels) else labels


def settle_head(
    model: Any, head: Head, own: tuple[str, ...] | None, labels: tuple[str, ...], info: dict[str, Any], name: str
) -> bool:
    """Keep the loaded head if its outputs are the `labels`, in this order; give it random outputs otherwise.

    The only output of a regression is kept by any name. Returns whether the head is kept.

    `own` are the names of its outputs in the checkpoint `name`; None if that has no such head, but perhaps weights of
    the same name: those of a tagging head fit into a classification head. `info` is transformers' loading info. Says
    what becomes of a head that was loaded.
    """
    random = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    loaded = _outputs(model, head) - random
    if not loaded:
        return False
    if own is not None and len(own) == len(labels):
        if len(labels) == 1:
            say(f"{name} has a head for one number ({own[0]}), which is kept")
            return True
        if unnamed(own):
            say_what_they_are(name, own, labels)
            return True
        if [label.lower() for label in own] == [label.lower() for label in labels]:
            say(f"{name} has a {head.noun} head for these labels, which is kept")
            return True
    fresh = head.auto.from_config(model.config).state_dict()
    model.load_state_dict({key: fresh[key] for key in loaded}, strict=False)
    what = f"for other labels ({', '.join(own[:MAX_SHOWN])})" if own is not None else "for another kind of task"
    modules = sorted({key.rpartition(".")[0] for key in loaded})
    say(f"the head of {name} is {what}: {', '.join(modules)} starts from random weights")
    return False


def _outputs(model: Any, head: Head) -> set[str]:
    """The weights whose shape depends on the number of labels."""
    import torch

    wider = deepcopy(model.config)
    wider.num_labels = model.config.num_labels + 1
    # The random numbers of a run are not to depend on this.
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        other = head.auto.from_config(wider).state_dict()
    return {key for key, tensor in model.state_dict().items() if tensor.shape != other[key].shape}
