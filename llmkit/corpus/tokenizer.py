"""Load a tokenizer, or train one: WordPiece for pretraining, byte-level BPE for models that generate text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.corpus.special_tokens import settle_special_tokens
from llmkit.corpus.vocab_txt import lone_vocabulary, read_vocabulary
from llmkit.system.errors import UserError
from llmkit.system.hub import reading_from_the_hub

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAVE_ONE = "save a tokenizer there with save_pretrained, or name another"
DECODER_TOKENIZER = "decoder_tokenizer"  # subfolder of a model whose decoder has a vocabulary of its own
# What tokenizers were saved as before tokenizer.json.
PARTS = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Relative word counts settle long before this; more text only takes longer to count.
TRAINING_CHARACTERS = 1_000_000_000
ALPHABET = 1000  # characters; rarer ones become [UNK], as in BERT's own vocabulary


def load_tokenizer(path: str, *, name: str = "", subfolder: str = "") -> PreTrainedTokenizerFast:
    """Load the tokenizer of a Hub id, a folder or a `vocab.txt`. `name` replaces `path` in error messages.

    Raises UserError if there is none, if it is not a fast tokenizer, or if it has no vocabulary or special tokens.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    name = name or path
    if (file := lone_vocabulary(Path(path) / subfolder)) is not None:
        return read_vocabulary(file)
    try:
        with reading_from_the_hub("model", path):
            tokenizer = AutoTokenizer.from_pretrained(path, subfolder=subfolder)
    # ImportError: it needs SentencePiece. TypeError: SentencePiece is there, but not the file that it reads.
    except (ValueError, OSError, KeyError, ImportError, TypeError) as error:
        raise _not_loaded(path, name, error) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"the tokenizer of {name} is not a fast tokenizer (of the tokenizers library)", remedy="choose another"
        )
    # If its files are missing, transformers silently creates a tokenizer that has only the special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"the tokenizer of {name} has no vocabulary: its files are missing", remedy=SAVE_ONE)
    if not tokenizer.all_special_ids:
        raise UserError(
            f"the tokenizer of {name} names no special tokens: they are not in tokenizer.json",
            remedy="add the tokenizer_config.json that belongs to it",
        )
    settle_special_tokens(tokenizer, name)
    forget_lengths(tokenizer)
    return tokenizer


def _not_loaded(path: str, name: str, error: Exception) -> UserError:
    """The error for a tokenizer that transformers cannot load. Says so if a folder has only parts of one."""
    parts = [file.name for file in (Path(path) / part for part in PARTS) if file.is_file()]
    if parts and not (Path(path) / "tokenizer.json").is_file():
        return UserError(
            f"{name} holds {', '.join(parts)}, but no tokenizer.json",
            remedy="load them with the tokenizer's own class, such as RobertaTokenizer.from_pretrained(FOLDER), and "
            "save it there with save_pretrained",
        )
    return UserError(f"no tokenizer could be loaded from {name}: {str(error).splitlines()[0]}", remedy=SAVE_ONE)


def forget_lengths(tokenizer: PreTrainedTokenizerFast) -> None:
    """Reset truncation and padding, which the last call sets. They would be saved and change the tokenizer's hash."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()


def train_tokenizer(
    documents: Callable[[], Iterator[str]], vocab_size: int, *, lowercase: bool
) -> PreTrainedTokenizerFast:
    """Train a BERT tokenizer with a WordPiece vocabulary on the first billion characters of the documents.

    The same documents give the same vocabulary. The library alone does not guarantee this: it numbers the subwords
    that continue a word in hash table order, and breaks ties between merges by number. So the alphabet is counted
    first and passed in sorted order. Raises UserError if there is no text, or if `vocab_size` is too small for the
    alphabet.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    wordpiece = BertWordPieceTokenizer(lowercase=lowercase)
    alphabet = _alphabet(_first(documents(), TRAINING_CHARACTERS), wordpiece.normalizer)
    if not alphabet:
        raise no_text()
    continuations = [f"##{c}" for c in alphabet if len(wordpiece.pre_tokenizer.pre_tokenize_str(f"a{c}")) == 1]
    wordpiece.train_from_iterator(
        _first(documents(), TRAINING_CHARACTERS),
        vocab_size=vocab_size,
        min_frequency=2,
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        special_tokens=[*SPECIAL, *continuations],
        show_progress=False,
    )
    vocabulary = sorted(wordpiece.get_vocab().items(), key=lambda item: item[1])
    if len(vocabulary) > vocab_size:
        raise UserError(
            f"tokenizer.vocab_size {vocab_size} is smaller than the corpus's alphabet",
            remedy=f"give at least tokenizer.vocab_size={len(vocabulary) * 2}",
        )
    return BertTokenizer(vocab=dict(vocabulary), do_lower_case=lowercase)


# Words and punctuation, each with the space before it. "_" is part of words, as in the symbols of formal languages.
_PIECES = r" ?\w+| ?[^\w\s]+|\s+"


def train_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with BERT's special tokens.

    Decoding restores every text, except for spaces at its ends. The same texts give the same vocabulary. Raises
    UserError if `vocab_size` is too small for the 256 bytes and the special tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab_size < len(bytes_) + len(SPECIAL):
        raise UserError(
            f"a BPE vocabulary of {vocab_size} is too small for the 256 bytes and the special tokens",
            remedy=f"give at least {len(bytes_) + len(SPECIAL)}",
        )
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Prepend(" ")])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=list(SPECIAL), initial_alphabet=bytes_, show_progress=False
        ),
    )
    ends = [(token, bpe.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    bpe.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, **dict(zip(names, SPECIAL, strict=True)), clean_up_tokenization_spaces=False
    )


def _alphabet(documents: Iterator[str], normalizer: Any) -> list[str]:
    """The ALPHABET most frequent characters of the normalized documents, by code point. Spaces are dropped."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(normalizer.normalize_str(document))
    letters = sorted(counts, key=lambda c: (-counts[c], c))
    return sorted(c for c in letters[:ALPHABET] if not c.isspace())


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a tokenizer to a new folder, atomically."""
    partial = folder.with_name(f".{folder.name}.partial")
    tokenizer.save_pretrained(partial)
    partial.rename(folder)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hash of everything that determines the ids of a text."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:20]


def check_for_pretraining(tokenizer: Any, name: str) -> None:
    """Raises UserError if the tokenizer lacks a special token that masked language modeling needs."""
    missing = [n for n in ("mask_token", "cls_token", "sep_token", "pad_token") if getattr(tokenizer, n) is None]
    if missing:
        raise UserError(f"the tokenizer of {name} has no {', '.join(missing)}", remedy="use that of a BERT-like model")


def no_text() -> UserError:
    """The error for a corpus of empty documents."""
    return UserError("the corpus holds no text", remedy="check the files and text_column")


def _first(documents: Iterator[str], size: int) -> Iterator[str]:
    """Yield documents until they have `size` characters."""
    total = 0
    for document in documents:
        yield document
        total += len(document)
        if total >= size:
            return
