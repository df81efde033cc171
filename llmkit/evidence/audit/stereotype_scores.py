"""The numbers behind CrowS-Pairs and StereoSet: how likely a model finds a sentence, and a word in a blank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from llmkit.evidence.audit.pseudo_likelihood import Masked, log_probabilities
from llmkit.evidence.audit.stereotype_data import Cloze, Pair, blank_with

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Advance = Callable[[int, int], None]


def pair_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    pairs: Sequence[Pair],
    positions: int | None,
    advance: Advance = lambda done, of: None,
) -> list[tuple[float, float] | None]:
    """For each pair, the pseudo-log-likelihoods of `more` and of `less`; None if the model cannot read one of them.

    The sum is over the tokens that both sentences share, the first and the last of them apart (CLS and SEP).
    """
    masked: list[Masked] = []
    owner: list[tuple[int, int]] = []  # of each masked token: its pair, and 0 for `more` or 1 for `less`
    mask = tokenizer.mask_token_id
    unread = set()
    for number, pair in enumerate(pairs):
        # Which tokens are shared may depend on the order of the sentences: this is the original script's.
        sides = (1, 0) if pair.against else (0, 1)
        ids = [tokenizer((pair.more, pair.less)[side])["input_ids"] for side in sides]
        if positions is not None and max(map(len, ids)) > positions:
            unread.add(number)
            continue
        for side, these, places in zip(sides, ids, _shared(*ids), strict=True):
            for place in places[1:-1]:
                masked.append(Masked((*these[:place], mask, *these[place + 1 :]), place, these[place]))
                owner.append((number, side))
    sums = np.zeros((len(pairs), 2))
    if masked:
        np.add.at(sums, tuple(np.array(owner).T), log_probabilities(model, tokenizer, masked, advance))
    return [None if number in unread else (float(more), float(less)) for number, (more, less) in enumerate(sums)]


def _shared(first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int]]:
    """The places of the tokens that two sentences share, as difflib finds them."""
    blocks = SequenceMatcher(None, first, second).get_matching_blocks()
    return (
        [block.a + step for block in blocks for step in range(block.size)],
        [block.b + step for block in blocks for step in range(block.size)],
    )


def word_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    clozes: Sequence[Cloze],
    positions: int | None,
    advance: Advance = lambda done, of: None,
) -> list[Mapping[str, float] | None]:
    """For each sentence, the score of each of its words by label: the mean probability of the word's tokens, each after
    those before it. None if the model cannot read one of them."""
    masked: list[Masked] = []
    owner: list[tuple[int, str]] = []
    mask = tokenizer.mask_token_id
    unread = set()
    for number, cloze in enumerate(clozes):
        for label, word in cloze.words.items():
            tokens = tokenizer(word, add_special_tokens=False)["input_ids"]
            for done, token in enumerate(tokens):
                # As in the original, the text is tokenized again: the tokens before may become other ones.
                text = blank_with(cloze.context, f"{tokenizer.decode(tokens[:done])}{tokenizer.mask_token}")
                ids = tokenizer(text)["input_ids"]
                if ids.count(mask) != 1 or (positions is not None and len(ids) > positions):
                    unread.add(number)
                    continue
                masked.append(Masked(tuple(ids), ids.index(mask), token))
                owner.append((number, label))
            if not tokens:
                unread.add(number)
    found: dict[tuple[int, str], list[float]] = {}
    if masked:
        probabilities = np.exp(log_probabilities(model, tokenizer, masked, advance)).tolist()
        for key, probability in zip(owner, probabilities, strict=True):
            found.setdefault(key, []).append(probability)
    return [
        None if number in unread else {label: float(np.mean(found[number, label])) for label in cloze.words}
        for number, cloze in enumerate(clozes)
    ]
