"""Special tokens: BERT's, and those around a text, where a tokenizer has them but does not add them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.system.console import say
from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BERTS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def settle_special_tokens(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Make the tokenizer add its first and last token to a text, and know them as `cls_token` and `sep_token`.

    `name` is for messages. The pieces of a tokenizer may be saved without the last one, the post-processor that adds
    these tokens: models that were trained with them would read texts without. Raises UserError if the tokenizer adds
    no token and has none to add.
    """
    added = tokenizer.backend_tokenizer.encode("").ids
    if not added:
        _add_template(tokenizer, name)
        added = tokenizer.backend_tokenizer.encode("").ids
    # Encoders after 2023 call them bos_token and eos_token.
    if len(added) == 2 and tokenizer.cls_token is None and added[0] == tokenizer.bos_token_id:
        tokenizer.cls_token = tokenizer.bos_token
    if len(added) == 2 and tokenizer.sep_token is None and added[1] == tokenizer.eos_token_id:
        tokenizer.sep_token = tokenizer.eos_token


def _add_template(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    from tokenizers import processors

    # Without a [MASK], bos_token and eos_token are those of a decoder, which does not read them around each text.
    encoder = tokenizer.mask_token is not None
    first = tokenizer.cls_token or (tokenizer.bos_token if encoder else None)
    last = tokenizer.sep_token or (tokenizer.eos_token if encoder else None)
    if first is None or last is None:
        raise UserError(
            f"the tokenizer of {name} adds no special tokens to a text, and names none to add",
            remedy="name cls_token and sep_token in its tokenizer_config.json, or use the tokenizer of an encoder",
        )
    pair = f"{first} $A {last} $B:1 {last}:1"
    if last == "</s>":  # RoBERTa and models with its tokens
        pair = f"{first} $A {last} {last} $B {last}"
    template = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=pair,
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in (first, last)],
    )
    backend = tokenizer.backend_tokenizer
    own = backend.post_processor
    backend.post_processor = template if own is None else processors.Sequence([own, template])
    say(f"the tokenizer of {name} does not add its special tokens: each text is read as {first} … {last}")
