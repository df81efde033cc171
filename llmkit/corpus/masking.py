"""Which tokens of a block the model must predict: a pure function of (seed, epoch, block).

The generator is counter-based (Philox), so masks are the same for any number of workers and processes, in
any order, and after a resume, and nothing about them needs to be saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Array = np.ndarray[Any, np.dtype[Any]]

KEEP, SWAP = 0.1, 0.1  # of the chosen tokens, 10 % stay and 10 % become another; the rest become [MASK]


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer.

    `special[i]`: token i is never masked. `ordinary`: the ids that may be put in another's place.
    `continues[i]`: token i continues a word (`##ing`).
    """

    mask_id: int
    special: Array
    ordinary: Array
    continues: Array

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
        """The tables of a tokenizer."""
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        special = np.zeros(len(tokens), bool)
        special[[i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id]] = True
        return cls(
            int(tokenizer.mask_token_id),
            special,
            np.flatnonzero(~special),
            np.array([token.startswith("##") for token in tokens]),
        )


def mask_block(
    input_ids: Array,
    vocabulary: Vocabulary,
    *,
    probability: float,
    whole_words: bool,
    seed: int,
    epoch: int,
    block: int,
) -> tuple[Array, Array]:
    """(masked input ids, positions to predict), both int64; positions ascend.

    Exactly `probability` of the tokens that may be masked are chosen (rounded, at least one), as BERT's own
    data code does; with `whole_words`, whole words are taken until at least that many tokens are.
    """
    random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, epoch, block]))
    allowed = np.flatnonzero(~vocabulary.special[input_ids])
    masked = input_ids.copy()
    if not len(allowed):
        return masked, allowed
    count = max(1, round(probability * len(allowed)))
    if whole_words:
        # A word starts at every token that does not continue one; a block may begin inside a word.
        words = np.cumsum(~vocabulary.continues[input_ids[allowed]])
        order = random.permutation(int(words[-1]) + 1)
        rank = order[words]
        chosen = allowed[rank <= np.sort(rank)[count - 1]]
    else:
        chosen = np.sort(random.permutation(allowed)[:count])
    fate = random.random(len(chosen))
    replacement = vocabulary.ordinary[random.integers(len(vocabulary.ordinary), size=len(chosen))]
    masked[chosen] = np.where(
        fate < KEEP, input_ids[chosen], np.where(fate < KEEP + SWAP, replacement, vocabulary.mask_id)
    )
    return masked, chosen
