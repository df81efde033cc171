"""Choose the tokens of blocks that the model must predict: a pure function of (seed, epoch, block, fraction).

The random generator is counter-based (Philox). So masks do not depend on the number of workers or processes, on the
order of blocks or on a resume, and no state needs to be saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.corpus.spans import spans_of
from llmkit.corpus.word_pieces import WordPieces
from llmkit.recipes.corpus import Masking
from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Array = np.ndarray[Any, np.dtype[Any]]
# From allowed[start:stop], choose places until there are `count`. Returns them and, for each in ascending order, the
# number between 0 and 1 that decides what becomes of it.
Choose = Callable[[int, int, int], tuple[Array, Array]]

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

    def check(self, masking: Masking, tokenizer_name: str) -> None:
        """Raises UserError if masks of this kind need words, and the tokenizer doesn't tell them."""
        if self.words is None and masking != "tokens":
            raise UserError(
                f"corpus.masking={masking}: the tokens of {tokenizer_name} don't tell where words begin",
                remedy="use corpus.masking=tokens, or choose another tokenizer",
            )


class Masks:
    """Masks of blocks.

    As in BERT's own data code, exactly the fraction that is asked for of a block's ordinary tokens is chosen (rounded,
    at least one): single `tokens`; or `whole_words`, or `spans` of them, until there are at least that many tokens. Of
    the last span, only as many words are taken as it needs.
    """

    def __init__(self, vocabulary: Vocabulary, *, masking: Masking, seed: int) -> None:
        self._vocabulary = vocabulary
        self._kind = {"tokens": self._tokens, "whole_words": self._words, "spans": self._spans}[masking]
        self._bits = np.random.Philox(key=seed, counter=0)
        self._random = np.random.Generator(self._bits)
        self._start: Any = self._bits.state

    def mask(self, input_ids: Array, epochs: Array, numbers: Array, probability: float) -> tuple[Array, Array]:
        """Mask this fraction of blocks [B, size] with these epochs and numbers [B].

        Returns the masked input ids, int64 [B, size], and the positions to predict in the flattened blocks, int64 [T],
        in ascending order.
        """
        flat, size = input_ids.reshape(-1), input_ids.shape[1]
        allowed = np.flatnonzero(~self._vocabulary.special[flat])
        bounds = np.searchsorted(allowed, np.arange(len(input_ids) + 1) * size).tolist()
        choose = self._kind(input_ids, allowed)
        ordinary = len(self._vocabulary.ordinary)
        chosen, draws, replacements = [allowed[:0]], [np.empty(0)], [allowed[:0]]
        for epoch, block, (start, stop) in zip(epochs.tolist(), numbers.tolist(), pairwise(bounds), strict=True):
            if start == stop:
                continue
            self._restart(epoch, block)
            some, some_draws = choose(start, stop, max(1, round(probability * (stop - start))))
            chosen.append(some)
            draws.append(some_draws)
            replacements.append(self._random.integers(ordinary, size=len(some)))
        # Blocks follow one another in `chosen`, so sorting all of it sorts each: the n-th draw is for its n-th token.
        positions = np.sort(np.concatenate(chosen))
        draw, replacement = np.concatenate(draws), self._vocabulary.ordinary[np.concatenate(replacements)]
        swapped = np.where(draw < KEEP + SWAP, replacement, self._vocabulary.mask_id)
        masked = flat.copy()
        masked[positions] = np.where(draw < KEEP, flat[positions], swapped)
        return masked.reshape(input_ids.shape), positions

    def _restart(self, epoch: int, block: int) -> None:
        """Begin the random numbers of a block: those of Philox(key=seed, counter=[0, 0, epoch, block]).

        To set the state of one generator takes a fifth of the time that a new one takes.
        """
        counter = self._start["state"]["counter"]
        counter[2], counter[3] = epoch, block
        self._bits.state = self._start

    def _tokens(self, input_ids: Array, allowed: Array) -> Choose:
        """Choose single tokens."""
        order = allowed.copy()

        def choose(start: int, stop: int, count: int) -> tuple[Array, Array]:
            self._random.shuffle(order[start:stop])
            return order[start : start + count], self._random.random(count)

        return choose

    def _words(self, input_ids: Array, allowed: Array) -> Choose:
        """Choose whole words."""
        number = self._numbers(input_ids, allowed)

        def choose(start: int, stop: int, count: int) -> tuple[Array, Array]:
            word = number(start, stop)
            taken = _first(self._random.permutation(int(word[-1]) + 1)[word], count)
            chosen = allowed[start:stop][taken]
            return chosen, self._random.random(len(chosen))

        return choose

    def _spans(self, input_ids: Array, allowed: Array) -> Choose:
        """Choose spans of whole words. All tokens of a span are masked, or kept, or swapped.

        A span that goes on into the next document, or from the end of the block to its start, is two shorter ones.
        """
        number = self._numbers(input_ids, allowed)

        def choose(start: int, stop: int, count: int) -> tuple[Array, Array]:
            word = number(start, stop)
            word -= word[0]
            words = int(word[-1]) + 1
            span, place = spans_of(words, self._random)
            spans = int(span.max()) + 1
            order = self._random.permutation(spans)[span] * words + place
            taken = _first(order[word], count)
            return allowed[start:stop][taken], self._random.random(spans)[span[word[taken]]]

        return choose

    def _numbers(self, input_ids: Array, allowed: Array) -> Callable[[int, int], Array]:
        """How to number the words of allowed[start:stop], a block."""
        assert self._vocabulary.words is not None
        words = np.cumsum(self._vocabulary.words.starts(input_ids, allowed))
        # Counted from 1, or from 0 if the block begins inside a word.
        return lambda start, stop: words[start:stop] - (words[start - 1] if start else 0)


def _first(rank: Array, count: int) -> Array:
    """Which tokens are of the words of lowest rank that hold `count` tokens. `rank` has the rank of each one's word."""
    lowest: Array = rank <= np.partition(rank, count - 1)[count - 1]
    return lowest
