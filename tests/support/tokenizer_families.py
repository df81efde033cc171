"""Tiny tokenizers of the families that encoders have, trained in memory on a few sentences of many scripts.

    tokenizer = tokenizer_of("roberta")

Each is built as the checkpoints of its family have it: normalizer, pre-tokenizer, model and post-processor.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

# One sentence or two a script. Those of the last rows are hard: emoji that are joined, letters with combining marks,
# digits, and code.
SENTENCES = {
    "latin": "The old lamp of Velmora was built by Ines Carrow in 1874. Çeşme'nin İlk ışığı, où brûle l'été à Málaga.",
    "cyrillic": "Старый маяк стоит на скале у моря, и каждый вечер его видят корабли. Ёлка й ї.",
    "greek": "Ο παλιός φάρος στέκεται στον βράχο δίπλα στη θάλασσα κάθε βράδυ. Ἐν ἀρχῇ.",
    "arabic": "المنارة القديمة تقف على الصخرة بجانب البحر، وتراها السفن كل مساء. مُحَمَّدٌ كتب.",
    "hebrew": "המגדלור הישן עומד על הצוק ליד הים, והאוניות רואות אותו בכל ערב. שָׁלוֹם.",
    "devanagari": "पुराना प्रकाशस्तंभ समुद्र के पास चट्टान पर खड़ा है। कल मेला में हिन्दी क्षेत्र।",
    "bengali": "পুরানো বাতিঘর সমুদ্রের পাশে পাথরের উপর দাঁড়িয়ে আছে। বাংলা ভাষা।",
    "tamil": "பழைய கலங்கரை விளக்கம் கடலுக்கு அருகில் பாறையில் நிற்கிறது. தமிழ் மொழி.",
    "thai": "ประภาคารเก่าตั้งอยู่บนหน้าผาริมทะเล เรือเห็นทุกเย็น น้ำที่นี่ใส",
    "khmer": "ប៉មភ្លើងហ្វារចាស់ឈរនៅលើច្រាំងថ្មក្បែរសមុទ្រ។ ភាសាខ្មែរ",
    "burmese": "မီးပြတိုက်ဟောင်းသည် ပင်လယ်အနီး ကျောက်ဆောင်ပေါ်တွင် ရှိသည်။",
    "chinese": "古老的灯塔矗立在海边的悬崖上，每天晚上船只都能看到它。繁體字，臺灣。",
    "japanese": "古い灯台は海のそばの崖の上に立っている。カタカナのガギグ、ﾊﾝｶｸ。",
    "korean": "오래된 등대가 바닷가 절벽 위에 서 있고 배들이 매일 저녁 그것을 본다.",
    "emoji": "The boat 🚢 and the family 👨‍👩‍👧 wave 👋🏽 at the flag 🇫🇷 with ❤️ and 😀.",
    "combining": "Cafe\u0301 E\u0301toile, u\u0308ber n\u0303andu\u0301; ﬁsh and ½ of Ⅳ.",
    "code": 'print("x = %d" % (y[3]))  # 12.50 €, a_b-c@d.org/e?f',
}
_TEXT = [*SENTENCES.values()] * 3
_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def _fast(tokenizer: Tokenizer, special: list[str], *, segments: bool) -> PreTrainedTokenizerFast:
    names = ("pad", "unk", "cls", "sep", "mask") if special is _BERT else ("cls", "pad", "sep", "unk", "mask")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"],
        **{f"{name}_token": token for name, token in zip(names, special, strict=True)},
        **({} if special is _BERT else {"bos_token": "<s>", "eos_token": "</s>"}),
    )


def _template(tokenizer: Tokenizer, single: str, pair: str) -> processors.TemplateProcessing:
    special = sorted({word.split(":")[0] for word in pair.split() if not word.startswith("$")})
    return processors.TemplateProcessing(single, pair, [(token, tokenizer.token_to_id(token)) for token in special])


def _bytes(pre: pre_tokenizers.PreTokenizer, *, roberta: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level BPE: a token's characters are bytes, and the space before a word belongs to it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _TEXT,
        trainers.BpeTrainer(
            vocab_size=700,
            special_tokens=_ROBERTA if roberta else _BERT,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if roberta:
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
        )
    else:
        tokenizer.post_processor = _template(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:0 [SEP]:0")
    return _fast(tokenizer, _ROBERTA if roberta else _BERT, segments=False)


def _wordpiece(*, lowercase: bool, mpnet: bool = False) -> PreTrainedTokenizerFast:
    special = _ROBERTA if mpnet else _BERT
    unknown = special[3 if mpnet else 1]
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        _TEXT, trainers.WordPieceTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    )
    if mpnet:
        tokenizer.post_processor = _template(tokenizer, "<s> $A </s>", "<s> $A </s> </s> $B:0 </s>:0")
    else:
        tokenizer.post_processor = _template(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    return _fast(tokenizer, special, segments=not mpnet)


def _unigram(
    pre: pre_tokenizers.PreTokenizer, *normalizer: normalizers.Normalizer, roberta: bool = False
) -> PreTrainedTokenizerFast:
    """SentencePiece's Unigram: a word's first token begins with "▁", which stands for the space before it."""
    special = _ROBERTA if roberta else _BERT
    unknown = special[3 if roberta else 1]
    tokenizer = Tokenizer(models.Unigram())
    # SentencePiece's own rules of normalization are NFKC with few exceptions.
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), *normalizer])
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        _TEXT,
        trainers.UnigramTrainer(vocab_size=700, special_tokens=special, unk_token=unknown, show_progress=False),
    )
    if roberta:
        tokenizer.post_processor = _template(tokenizer, "<s> $A </s>", "<s> $A </s> </s> $B:0 </s>:0")
    else:
        tokenizer.post_processor = _template(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    return _fast(tokenizer, special, segments=not roberta)


def _bpe(*, byte_fallback: bool) -> PreTrainedTokenizerFast:
    """BPE of characters, with "▁" for spaces. With `byte_fallback` unknown characters become their UTF-8 bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    # Without the last scripts' letters, so that there is something to fall back from.
    known = [SENTENCES[name] for name in SENTENCES if name not in ("burmese", "korean", "emoji")]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=_BERT, show_progress=False)
    tokenizer.train_from_iterator(known * 3, trainer)
    if byte_fallback:
        model = json.loads(tokenizer.to_str())["model"]
        vocabulary = model["vocab"] | {f"<0x{byte:02X}>": len(model["vocab"]) + byte for byte in range(256)}
        merges = [tuple(pair) for pair in model["merges"]]
        tokenizer.model = models.BPE(vocabulary, merges, unk_token="[UNK]", fuse_unk=True, byte_fallback=True)
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = _template(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:0 [SEP]:0")
    return _fast(tokenizer, _BERT, segments=False)


# As in GPT-4 and the encoders after it, simplified: a regular expression splits, then each piece becomes bytes.
_SPLIT = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

_FAMILIES: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bert-uncased": lambda: _wordpiece(lowercase=True),
    "bert-cased": lambda: _wordpiece(lowercase=False),
    "mpnet": lambda: _wordpiece(lowercase=True, mpnet=True),
    "roberta": lambda: _bytes(pre_tokenizers.ByteLevel(add_prefix_space=False), roberta=True),
    "modernbert": lambda: _bytes(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "eurobert": lambda: _bytes(  # Llama 3's
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(_SPLIT, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    ),
    "xlm-roberta": lambda: _unigram(
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), roberta=True
    ),
    "deberta-v3": lambda: _unigram(pre_tokenizers.Metaspace(), normalizers.Replace(Regex(" {2,}"), " ")),
    "albert": lambda: _unigram(
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
        normalizers.NFKD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
    ),
    "metaspace-bpe": lambda: _bpe(byte_fallback=False),
    "mmbert": lambda: _bpe(byte_fallback=True),  # Gemma's
}
FAMILIES = tuple(_FAMILIES)


@cache
def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a family; the same object for every caller, who must not change it."""
    return _FAMILIES[family]()
