"""How likely a masked language model finds tokens of a sentence, each one masked on its own (Salazar et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from llmkit.models.collator import Collator, to_device
from llmkit.models.eval_batches import MAX_ROWS, rows_at_a_time
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_MOST_LOGITS = 2**26  # of a batch: 256 MB


@dataclass(frozen=True)
class Masked:
    """A sentence of token `ids` with a mask at `place`, where `target` is asked for."""

    ids: tuple[int, ...]
    place: int
    target: int


def log_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    masked: Sequence[Masked],
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Array:
    """The natural logarithm of the probability of each target, [masked]."""
    found = np.zeros(len(masked))
    collate = Collator(tokenizer)
    order = np.argsort([-len(each.ids) for each in masked], kind="stable").tolist()
    done = 0
    while done < len(order):
        length = len(masked[order[done]].ids)
        fitting = max(1, _MOST_LOGITS // (length * model.config.vocab_size))
        numbers = order[done : done + min(fitting, rows_at_a_time(length, model.device, MAX_ROWS))]
        some = [masked[number] for number in numbers]
        batch = collate(
            [{"input_ids": each.ids, "token_type_ids": [0] * len(each.ids), "length": len(each.ids)} for each in some]
        )
        with torch.no_grad():
            logits = model(**to_device(batch, model.device)).logits
        at = logits[torch.arange(len(some)), torch.tensor([each.place for each in some])].float().log_softmax(-1)
        found[numbers] = at[torch.arange(len(some)), torch.tensor([each.target for each in some])].cpu().numpy()
        done += len(some)
        advance(done, len(order))
    return found
