"""A tokenizer and the embeddings of a model: the same number, or more tokens, which were added to the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.system.console import say, warn
from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llmkit.models.checkpoint import Checkpoint

SHOWN = 8  # tokens in a message


def check_vocabulary(tokenizer: PreTrainedTokenizerFast, size: int, name: str, *, may_grow: bool) -> None:
    """Raises UserError if the tokenizer has tokens for which the model `name`, with `size` embeddings, has none.

    With `may_grow`, these may be tokens that `add_tokens` added to the model's own vocabulary.
    """
    beyond = set(_beyond(tokenizer, size))
    if beyond and not (may_grow and beyond <= tokenizer.get_added_vocab().keys()):
        raise UserError(
            f"the tokenizer has {len(tokenizer):,} tokens, but the vocabulary of {name} only {size:,}",
            remedy="use the tokenizer that the checkpoint was trained with",
        )


def check_same_tokens(tokenizer: PreTrainedTokenizerFast, checkpoint: Checkpoint) -> None:
    """Raises UserError if the numbers of a tokenizer's tokens are not those of the checkpoint's own tokenizer.

    The vocabularies of most models are of one size, so nothing else tells: each token would get another's embedding.
    Warns if the checkpoint has no tokenizer that can be read.
    """
    try:
        own = checkpoint.tokenizer().get_vocab()
    except UserError as error:
        warn(f"{error}; so the text may have been tokenized with another vocabulary than that of {checkpoint.name}")
        return
    numbers = tokenizer.get_vocab()
    if any(numbers.get(token) != number for token, number in own.items()):
        raise UserError(
            f"the text was tokenized with another vocabulary than that of {checkpoint.name}",
            remedy=f"tokenize it with that of the checkpoint: tokenizer.path={checkpoint.name}",
        )


def grow_embeddings(model: Any, tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Give the tokens that were added to the vocabulary embeddings: random ones, around the mean of the others."""
    size = model.get_input_embeddings().num_embeddings
    if new := _beyond(tokenizer, size):
        shown = ", ".join(new[:SHOWN]) + (", …" if len(new) > SHOWN else "")
        grown = max(tokenizer.get_vocab().values()) + 1  # numbers may have gaps
        say(
            f"{name}: {len(new):,} added token{'s' if len(new) > 1 else ''} ({shown}); the embeddings grow from "
            f"{size:,} to {grown:,}"
        )
        model.resize_token_embeddings(grown)


def _beyond(tokenizer: PreTrainedTokenizerFast, size: int) -> list[str]:
    """The tokens whose numbers are not below `size`, in order."""
    if len(tokenizer) <= size:
        return []
    found = sorted((number, token) for token, number in tokenizer.get_vocab().items() if number >= size)
    return [token for _, token in found]
