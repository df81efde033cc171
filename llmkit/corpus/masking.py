"""Choose the tokens of a block that the model must predict: a pure function of (seed, epoch, block).

The random generator is counter-based (Philox). So masks do not depend on the number of workers or processes, on the
order of blocks or on a resume, and no state needs to be saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.corpus.word_pieces import WordPieces
from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Array = np.ndarray[Any, np.dtype[Any]]

KEEP, SWAP = 0.1, 0.1  # of the chosen tokens, 10 % stay and 10 % become a random token; the rest become [MASK]


@dataclass(frozen=True)
class Vocabulary:
    """The tables of a tokenizer that masking needs.

    `special` [V]: which tokens are special, and never masked. `ordinary`: the ids of all others, from which random
    tokens are drawn. `words`: which tokens begin a word; None if the tokenizer doesn't tell.
    """

    mask_id: int
    special: Array
    ordinary: Array
    words: WordPieces | None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
        """Build the tables of a tokenizer. [UNK] counts as an ordinary token."""
        special = np.zeros(len(tokenizer), bool)
        special[[i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id]] = True
        return cls(int(tokenizer.mask_token_id), special, np.flatnonzero(~special), WordPieces.of(tokenizer))

    def check_whole_words(self, tokenizer_name: str) -> None:
        """Raises UserError if whole words can't be masked."""
        if self.words is None:
            raise UserError(
                f"corpus.whole_word_mask: the tokens of {tokenizer_name} don't tell where words begin",
                remedy="leave it out, or choose another tokenizer",
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
    """Mask a block. Returns (masked input ids, positions to predict in ascending order), both int64.

    As in BERT's own data code, exactly `probability` of the ordinary tokens are chosen (rounded, at least one). With
    `whole_words`, whole words are chosen until there are at least that many tokens.
    """
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, epoch, block]))
    allowed = np.flatnonzero(~vocabulary.special[input_ids])
    masked = input_ids.copy()
    if not len(allowed):
        return masked, allowed
    count = max(1, round(probability * len(allowed)))
    if whole_words:
        assert vocabulary.words is not None
        words = np.cumsum(vocabulary.words.starts(input_ids, allowed))  # a block may begin inside a word
        order = rng.permutation(int(words[-1]) + 1)
        rank = order[words]
        chosen = allowed[rank <= np.sort(rank)[count - 1]]
    else:
        chosen = np.sort(rng.permutation(allowed)[:count])
    draw = rng.random(len(chosen))
    replacement = vocabulary.ordinary[rng.integers(len(vocabulary.ordinary), size=len(chosen))]
    masked[chosen] = np.where(
        draw < KEEP, input_ids[chosen], np.where(draw < KEEP + SWAP, replacement, vocabulary.mask_id)
    )
    return masked, chosen
