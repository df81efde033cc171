"""Train a tokenizer: WordPiece or Unigram for encoders, byte-level BPE for them and for models that generate text.

All have BERT's special tokens, at the same ids, and the same documents give the same vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from llmkit.corpus.alphabets import Alphabet, count_characters, in_scripts_of_bert
from llmkit.corpus.special_tokens import BERTS as SPECIAL
from llmkit.corpus.tokenizer import no_text
from llmkit.corpus.words import ACCENTS, CLUSTERS
from llmkit.recipes.corpus import SMALLEST_BPE
from llmkit.system.console import say
from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

Kind = Literal["wordpiece", "unigram", "bpe"]
NAMES: dict[Kind, str] = {"wordpiece": "WordPiece", "unigram": "Unigram", "bpe": "byte-level BPE"}
Documents = Callable[[], Iterator[str]]

INPUTS = ["input_ids", "token_type_ids", "attention_mask"]  # what a BERT takes
# Relative word counts settle long before this; more text only takes longer to count.
TRAINING_CHARACTERS = 1_000_000_000
# Unigram is trained on documents spread evenly over these: a hundred times slower on text without spaces.
UNIGRAM_CHARACTERS = 20_000_000
LINE_CHARACTERS = 1000  # of a text that SentencePiece is given at a time
META_PIECES = 3  # SentencePiece's own <unk>, <s> and </s>


def train_tokenizer(
    documents: Documents, vocab_size: int, *, lowercase: bool, kind: Kind = "wordpiece"
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on the first billion characters of the documents.

    `lowercase` also strips accents. Raises UserError if there is no text, or if `vocab_size` is too small.
    """

    def first() -> Iterator[str]:
        return _first(documents(), TRAINING_CHARACTERS)

    if kind == "wordpiece":
        return _wordpiece(first, vocab_size, lowercase=lowercase)
    if kind == "unigram":
        return _finished(_unigram(first, vocab_size, lowercase=lowercase), model_input_names=INPUTS)
    return _finished(_bpe(_some_text(first()), vocab_size, lowercase=lowercase), model_input_names=INPUTS)


def train_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer for a model that generates text.

    Decoding restores every text, except for spaces at its ends. Raises UserError if `vocab_size` is too small for the
    256 bytes and the special tokens.
    """
    return _finished(_bpe(texts, vocab_size, lowercase=False))


def _wordpiece(documents: Documents, vocab_size: int, *, lowercase: bool) -> PreTrainedTokenizerFast:
    """Train a BERT tokenizer with a WordPiece vocabulary.

    The library alone is not deterministic: it numbers the subwords that continue a word in hash table order, and breaks
    ties between merges by number. So the alphabet is counted first and passed in sorted order.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizer

    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece.decoder = decoders.WordPiece()
    counts, written = count_characters(documents(), wordpiece.normalizer)
    is_berts = in_scripts_of_bert(written)
    if not is_berts:
        wordpiece.normalizer = normalizers.Sequence(
            [*_without_accents(strip=lowercase), normalizers.BertNormalizer(strip_accents=False, lowercase=lowercase)]
        )
        wordpiece.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(CLUSTERS), "isolated"), pre_tokenizers.BertPreTokenizer()]
        )
        counts, _ = count_characters(documents(), wordpiece.normalizer)

    def tokens(character: str) -> int:
        """The tokens that a character needs: as a word of its own or its beginning, and within words."""
        return 1 if _stands_alone(character, wordpiece) else 2

    alphabet = _alphabet(Alphabet.of(counts, vocab_size, tokens))
    continuations = [f"##{character}" for character in alphabet if tokens(character) == 2]
    wordpiece.train_from_iterator(
        documents(),
        trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            limit_alphabet=len(alphabet),
            initial_alphabet=alphabet,
            special_tokens=[*SPECIAL, *continuations],
            show_progress=False,
        ),
    )
    vocabulary = sorted(wordpiece.get_vocab().items(), key=lambda item: item[1])
    if len(vocabulary) > vocab_size:
        raise _too_small(vocab_size, len(vocabulary))
    if is_berts:
        return BertTokenizer(vocab=dict(vocabulary), do_lower_case=lowercase)
    wordpiece.model = models.WordPiece(dict(vocabulary), unk_token="[UNK]")
    return _finished(wordpiece, model_input_names=INPUTS)


def _unigram(documents: Documents, vocab_size: int, *, lowercase: bool) -> Tokenizer:
    """Train a Unigram tokenizer as SentencePiece does: pieces of words, with `▁` for the space before them.

    SentencePiece trains it. The tokenizers library has a trainer too, whose scores differ from process to process.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    unigram = Tokenizer(models.Unigram())
    steps = [normalizers.Nmt(), normalizers.NFKC(), *_lowercase(wanted=lowercase)]
    unigram.normalizer = normalizers.Sequence([*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    # Brackets are tokens of their own, so that "[MASK]" in a text never becomes the special token.
    unigram.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex(r"[\[\]]"), "isolated")]
    )
    unigram.decoder = decoders.Metaspace()
    counts, _ = count_characters(documents(), unigram.normalizer)
    found = Alphabet.of(counts, vocab_size, lambda _: 1)
    alphabet = _alphabet(found)
    if len(alphabet) + len(SPECIAL) + 1 > vocab_size:  # 1: "▁"
        raise _too_small(vocab_size, len(alphabet) + len(SPECIAL) + 1)
    share = UNIGRAM_CHARACTERS / max(found.total, 1)
    spaces = str.maketrans(dict.fromkeys(found.left_out, " "))
    texts = (unigram.normalizer.normalize_str(text).translate(spaces) for text in _spread(documents(), share))
    pieces = _sentencepieces(texts, vocab_size - len(SPECIAL))
    unigram.model = models.Unigram([*((token, 0.0) for token in SPECIAL), *pieces], SPECIAL.index("[UNK]"))
    return unigram


# Words and punctuation, each with the space before it. "_" is part of words, as in the symbols of formal languages.
_PIECES = r" ?\w+| ?[^\w\s]+|\s+"


def _bpe(texts: Iterable[str], vocab_size: int, *, lowercase: bool) -> Tokenizer:
    """Train a byte-level BPE tokenizer: no character is unknown, since each is made of bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab_size < SMALLEST_BPE:
        raise UserError(
            f"a BPE vocabulary of {vocab_size} is too small for the 256 bytes and the special tokens",
            remedy=f"give at least {SMALLEST_BPE}",
        )
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence(
        [normalizers.Strip(), *_lowercase(wanted=lowercase), normalizers.Prepend(" ")]
    )
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
    return bpe


def _lowercase(*, wanted: bool) -> list[Any]:
    from tokenizers import normalizers

    return [*_without_accents(strip=True), normalizers.Lowercase()] if wanted else []


def _without_accents(*, strip: bool) -> list[Any]:
    """Normalizers that compose characters and, with `strip`, drop accents: of Latin, Greek and Cyrillic letters alone.

    Elsewhere a mark is a vowel, a tone, or tells が from か: without it a word is another word.
    """
    from tokenizers import Regex, normalizers

    if not strip:
        return [normalizers.NFC()]
    return [normalizers.NFD(), normalizers.Replace(Regex(ACCENTS), ""), normalizers.NFC()]


def _stands_alone(character: str, tokenizer: Tokenizer) -> bool:
    """Whether a character is a word of its own wherever it stands: punctuation, and scripts without spaces."""
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(f"a{character}"))) > 1


def _alphabet(found: Alphabet) -> list[str]:
    """The characters of an alphabet, by code point. Reports those left out. Raises UserError if it is empty."""
    if not found.kept:
        raise no_text()
    if found.left_out:
        say(
            f"the vocabulary has no room for {len(found.left_out):,} rare characters ({found.share_left_out:.2%} of "
            f"the text), such as {' '.join(found.left_out[:5])}: they become [UNK]"
        )
    return sorted(found.kept)


def _sentencepieces(texts: Iterator[str], size: int) -> list[tuple[str, float]]:
    """The pieces of a Unigram model of up to `size` pieces, with their log probabilities."""
    from io import BytesIO

    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=(line for text in texts for line in _lines(text)),
        model_writer=model,
        model_type="unigram",
        vocab_size=size + META_PIECES,
        hard_vocab_limit=False,  # a small text has fewer pieces
        character_coverage=1.0,
        normalization_rule_name="identity",
        max_sentence_length=4 * LINE_CHARACTERS,  # bytes; it passes over longer ones
        minloglevel=2,
    )
    pieces = SentencePieceProcessor(model_proto=model.getvalue())
    return [(pieces.id_to_piece(n), pieces.get_score(n)) for n in range(META_PIECES, len(pieces))]


def _finished(tokenizer: Tokenizer, **options: Any) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers' class that saves and loads it as it is, with `[CLS] … [SEP]` around texts."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    ends = [(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        **dict(zip(names, SPECIAL, strict=True)),
        **options,
    )


def _too_small(vocab_size: int, needed: int) -> UserError:
    return UserError(
        f"tokenizer.vocab_size {vocab_size} is smaller than the corpus's alphabet",
        remedy=f"give at least tokenizer.vocab_size={needed * 2}",
    )


def _first(documents: Iterator[str], size: int) -> Iterator[str]:
    """Yield documents until they have `size` characters."""
    total = 0
    for document in documents:
        yield document
        total += len(document)
        if total >= size:
            return


def _spread(documents: Iterator[str], share: float) -> Iterator[str]:
    """Yield documents with `share` of the characters, evenly spread. A document of more than its share is cut."""
    read = taken = 0.0
    for document in documents:
        read += len(document)
        if part := document[: max(0, round(read * share - taken))]:
            yield part
            taken += len(part)


def _lines(text: str) -> Iterator[str]:
    for start in range(0, len(text), LINE_CHARACTERS):
        yield text[start : start + LINE_CHARACTERS]


def _some_text(documents: Iterator[str]) -> Iterator[str]:
    """Pass documents on. Raises UserError if all are blank."""
    blank = True
    for document in documents:
        blank = blank and not document.strip()
        yield document
    if blank:
        raise no_text()
