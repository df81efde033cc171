"""A tokenizer: loaded, or trained: WordPiece on a corpus, to pretrain with; BPE on texts, to write with."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.system.hub import reading_from_the_hub

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAVE_ONE = "save one there with save_pretrained, or name another"
DECODER_TOKENIZER = "decoder_tokenizer"  # folder in a model's, where its halves have vocabularies of their own
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Word counts settle long before this; more text would only take longer to count.
TRAINING_BYTES = 1_000_000_000
ALPHABET = 1000  # characters; rarer ones become [UNK], as in BERT's own vocabulary


def load_tokenizer(path: str, *, name: str = "", subfolder: str = "") -> PreTrainedTokenizerFast:
    """The tokenizer of a Hub id or a folder. Raises UserError, which calls it `name`, where there is none that fits."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    name = name or path
    try:
        with reading_from_the_hub("model", path):
            tokenizer = AutoTokenizer.from_pretrained(path, subfolder=subfolder)
    except (ValueError, OSError, KeyError, ImportError) as error:  # the last: it wants SentencePiece
        raise UserError(
            f"no tokenizer could be loaded from {name}: {str(error).splitlines()[0]}",
            remedy=SAVE_ONE,
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(f"the tokenizer of {name} has no form for the tokenizers library", remedy="choose another")
    # Where its files are missing, transformers makes one that knows the special tokens alone, and says nothing.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"the tokenizer of {name} has no vocabulary: its files are not there", remedy=SAVE_ONE)
    forget_lengths(tokenizer)
    return tokenizer


def forget_lengths(tokenizer: PreTrainedTokenizerFast) -> None:
    """Take out to what length texts were cut and padded last, which would be saved with it, and change its hash."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()


def train_tokenizer(
    documents: Callable[[], Iterator[str]], vocab_size: int, *, lowercase: bool
) -> PreTrainedTokenizerFast:
    """A BERT tokenizer whose WordPiece vocabulary is trained on the first gigabyte of documents.

    The same documents give the same vocabulary. The library alone does not promise that: it numbers the
    pieces that continue a word in the order of a hash table, and breaks ties between merges by number. So
    the alphabet is counted first, and handed over in order. Raises UserError where there is no text, and where
    the vocabulary cannot hold the alphabet.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    wordpiece = BertWordPieceTokenizer(lowercase=lowercase)
    alphabet = _alphabet(_first(documents(), TRAINING_BYTES), wordpiece.normalizer)
    if not alphabet:
        raise no_text()
    continuing = [f"##{c}" for c in alphabet if len(wordpiece.pre_tokenizer.pre_tokenize_str(f"a{c}")) == 1]
    wordpiece.train_from_iterator(
        _first(documents(), TRAINING_BYTES),
        vocab_size=vocab_size,
        min_frequency=2,
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        special_tokens=[*SPECIAL, *continuing],
        show_progress=False,
    )
    vocabulary = sorted(wordpiece.get_vocab().items(), key=lambda item: item[1])
    if len(vocabulary) > vocab_size:
        raise UserError(
            f"tokenizer.vocab_size {vocab_size} is smaller than the corpus's alphabet",
            remedy=f"give at least tokenizer.vocab_size={len(vocabulary) * 2}",
        )
    return BertTokenizer(vocab=dict(vocabulary), do_lower_case=lowercase)


# A word with the space before it, or signs with theirs. "_" belongs to words: so do the symbols of formal languages.
_PIECES = r" ?\w+| ?[^\w\s]+|\s+"


def train_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that gives every text back as it was, spaces at its ends aside, with BERT's special
    tokens. The same texts give the same vocabulary. Raises UserError where it is smaller than the bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab_size < len(bytes_) + len(SPECIAL):
        raise UserError(
            f"a BPE vocabulary of {vocab_size} does not hold the 256 bytes",
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
    """The most frequent characters of normalized text, in the order of their code points."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(normalizer.normalize_str(document))
    letters = sorted(counts, key=lambda c: (-counts[c], c))
    return sorted(c for c in letters[:ALPHABET] if not c.isspace())


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a tokenizer into a folder that is not there yet, so that a reader sees all of it or nothing."""
    aside = folder.with_name(f".{folder.name}.partial")
    tokenizer.save_pretrained(aside)
    aside.rename(folder)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hash of everything that decides which ids a text becomes."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:20]


def check_for_pretraining(tokenizer: Any, name: str) -> None:
    """Raises UserError unless the tokenizer has what masked-language modelling needs."""
    missing = [n for n in ("mask_token", "cls_token", "sep_token", "pad_token") if getattr(tokenizer, n) is None]
    if missing:
        raise UserError(f"the tokenizer of {name} has no {', '.join(missing)}", remedy="use one of a BERT-like model")


def no_text() -> UserError:
    """The message for a corpus of empty documents."""
    return UserError("the corpus holds no text", remedy="check the files and text_column")


def _first(documents: Iterator[str], size: int) -> Iterator[str]:
    read = 0
    for document in documents:
        yield document
        read += len(document)
        if read >= size:
            return
