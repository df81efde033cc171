"""Build the encoder-decoder of a recipe, and its tokenizers: an encoder-decoder checkpoint, or two BERTs."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    EncoderDecoderModel,
    GenerationConfig,
    PreTrainedModel,
)

from llmkit.corpus.tokenizer import DECODER_TOKENIZER, load_tokenizer, save_tokenizer
from llmkit.corpus.vocabularies import train_bpe
from llmkit.models.checkpoint import Checkpoint, check_length, fresh_config, fresh_modules, set_attention_dropout
from llmkit.models.vocabulary import check_vocabulary, grow_embeddings
from llmkit.system.cache import cached, fingerprint
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.files import to_json, write_whole
from llmkit.system.hub import reading_from_the_hub
from llmkit.tasks.base import Task
from llmkit.tasks.encoder_models import missing_head
from llmkit.tasks.text.sections import TextData, TextRecipe
from llmkit.tasks.values import Codec

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast


GENERATION = "generation_config.json"


def codec_to_train(recipe: TextRecipe, checkpoint: Checkpoint | None, train: Dataset) -> Codec:
    """The tokenizers of a model to train: loaded, or trained on the training examples and cached."""
    section = recipe.model
    if checkpoint is not None and checkpoint.config.is_encoder_decoder:
        if section.decoder_vocab_size is not None:
            raise UserError(
                f"{checkpoint.name} is an encoder-decoder, which has a vocabulary for its decoder",
                remedy="leave out model.decoder_vocab_size",
            )
        return codec_of(checkpoint)
    targets = train["target"]
    if section.vocab_size is not None:
        shared = section.decoder_vocab_size is None
        texts = [*train["source"], *targets] if shared else train["source"]
        tokenizer = _train_tokenizer(texts, section.vocab_size)
    else:
        tokenizer = (checkpoint or Checkpoint.named(str(section.tokenizer))).tokenizer()
    own = _train_tokenizer(targets, section.decoder_vocab_size) if section.decoder_vocab_size is not None else None
    target_tokenizer = own or tokenizer
    if target_tokenizer.cls_token_id is None or target_tokenizer.sep_token_id is None:
        raise UserError(
            "the tokenizer has no [CLS] and [SEP] tokens", remedy="use the tokenizer of a BERT-like encoder"
        )
    return Codec(tokenizer, own_target_tokenizer=own, decoder_start=target_tokenizer.cls_token_id)


def codec_of(checkpoint: Checkpoint) -> Codec:
    """The tokenizers of an encoder-decoder checkpoint."""
    own = None
    if checkpoint.config.model_type == "encoder-decoder" and checkpoint.file(f"{DECODER_TOKENIZER}/tokenizer.json"):
        own = checkpoint.tokenizer(DECODER_TOKENIZER)
    return Codec(checkpoint.tokenizer(), own_target_tokenizer=own, decoder_start=_start_of(checkpoint))


def load_trained(task: Task[Any], checkpoint: Checkpoint, data: TextData) -> tuple[PreTrainedModel, Codec]:
    """Load an encoder-decoder checkpoint. Raises UserError if it is another kind of model."""
    if not checkpoint.config.is_encoder_decoder:
        raise missing_head(task, checkpoint)
    model, info = checkpoint.load(task.head.auto)
    if fresh_modules(info):
        raise missing_head(task, checkpoint)
    codec = codec_of(checkpoint)
    check_vocabularies(checkpoint, codec, may_grow=False)
    model.generation_config.decoder_start_token_id = codec.decoder_start
    _limit_length(model, data)
    return model, codec


def check_vocabularies(checkpoint: Checkpoint, codec: Codec, *, may_grow: bool) -> None:
    """Raises UserError if a tokenizer has tokens for which the checkpoint has no embeddings; see check_vocabulary."""
    config = checkpoint.config
    for half, tokenizer in (("encoder", codec.tokenizer), ("decoder", codec.target_tokenizer)):
        if half == "encoder" or config.model_type == "encoder-decoder":
            size = getattr(config, half, config).vocab_size
            check_vocabulary(tokenizer, size, checkpoint.name, may_grow=may_grow)


def _limit_length(model: Any, data: TextData) -> None:
    """Set the maximum length of generated texts: from `data` if set there, or else the checkpoint's own.

    If neither sets it, use the default of `data`, since transformers' default is 20 tokens.
    """
    settings = model.generation_config
    # max_length includes the start token.
    own = settings.max_new_tokens or (settings.max_length and settings.max_length - 1)
    use_data = "max_target_length" in data.model_fields_set or not own
    settings.update(max_new_tokens=data.max_target_length if use_data else own, max_length=None)


def _start_of(checkpoint: Checkpoint) -> int:
    """The token id that the decoder starts from, looked up in the same places as transformers does."""
    config = checkpoint.config
    if checkpoint.file(GENERATION):
        with reading_from_the_hub("model", checkpoint.path):
            settings = GenerationConfig.from_pretrained(checkpoint.path)
    else:
        settings = GenerationConfig.from_model_config(config)
    for start in (
        settings.decoder_start_token_id,
        getattr(config, "decoder_start_token_id", None),
        settings.bos_token_id,
    ):
        if isinstance(start, int):
            return start
    raise UserError(
        f"{checkpoint.name} does not say which token its decoder starts from",
        remedy=f"set decoder_start_token_id in its {GENERATION}",
    )


def _train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    texts = list(dict.fromkeys(texts))

    def build(aside: Path) -> None:
        say(f"training a BPE vocabulary of {vocab_size:,} on {len(texts):,} texts")
        save_tokenizer(train_bpe(texts, vocab_size), aside / "tokenizer")
        write_whole(aside / "manifest.json", to_json({"key": key}))

    key = {"format": 1, "vocab_size": vocab_size, "texts": fingerprint(texts)}
    return load_tokenizer(str(cached("vocabularies", key, build) / "tokenizer"))


def model_to_train(recipe: TextRecipe, checkpoint: Checkpoint | None, codec: Codec) -> PreTrainedModel:
    """The encoder-decoder to train. Raises UserError if the checkpoint cannot be used as one."""
    section, data = recipe.model, recipe.data
    longest = max(data.max_length, data.max_target_length)
    model: Any
    if section.config is not None:
        encoder_config = fresh_config(section.config, codec.tokenizer)
        decoder_config = fresh_config(section.config, codec.target_tokenizer)
        decoder_config.is_decoder = decoder_config.add_cross_attention = True
        check_length(longest, section.config.max_position_embeddings, "model.config")
        model = EncoderDecoderModel(
            encoder=AutoModel.from_config(encoder_config, add_pooling_layer=False),
            decoder=AutoModelForCausalLM.from_config(decoder_config),
        )
    else:
        assert checkpoint is not None
        config = deepcopy(checkpoint.config)
        check_length(data.max_length, checkpoint.positions, checkpoint.name)
        check_length(data.max_target_length, checkpoint.target_positions, checkpoint.name, "max_target_length")
        check_vocabularies(checkpoint, codec, may_grow=True)
        set_attention_dropout(config, section)
        if config.is_encoder_decoder:
            model, _ = checkpoint.load(AutoModelForSeq2SeqLM, config=config)
            halves = (model.encoder, model.decoder) if config.model_type == "encoder-decoder" else (model,)
            for half, tokenizer in zip(halves, (codec.tokenizer, codec.target_tokenizer), strict=False):
                grow_embeddings(half, tokenizer, checkpoint.name)
        else:
            model = _from_encoder(checkpoint, config, codec)
    _set_generation(model, recipe, codec)
    return model  # type: ignore[no-any-return]


def _from_encoder(checkpoint: Checkpoint, config: Any, codec: Codec) -> EncoderDecoderModel:
    """An encoder-decoder whose halves both start from the weights of an encoder."""
    own = codec.own_target_tokenizer is not None
    decoder_config = deepcopy(config)
    decoder_config.is_decoder = decoder_config.add_cross_attention = True
    decoder_config.vocab_size = len(codec.target_tokenizer) if own else config.vocab_size
    decoder_config.pad_token_id = codec.target_tokenizer.pad_token_id
    try:
        encoder, _ = checkpoint.load(AutoModel, config=config, add_pooling_layer=False)
        decoder, _ = checkpoint.load(AutoModelForCausalLM, config=decoder_config, ignore_mismatched_sizes=own)
    except TypeError as error:  # the encoder has no add_pooling_layer option, or transformers has no such decoder
        raise UserError(
            f"{checkpoint.name} is a {config.model_type}, which cannot be used as a decoder",
            remedy="use a BERT-like encoder, or an encoder-decoder",
        ) from error
    grow_embeddings(encoder, codec.tokenizer, checkpoint.name)
    if not own:
        decoder.resize_token_embeddings(encoder.config.vocab_size)
    fresh = "cross-attention" + (" and the decoder's vocabulary" if own else "")
    say(f"{checkpoint.name} is an encoder: both halves start from its weights, {fresh} from random ones")
    return EncoderDecoderModel(encoder=encoder, decoder=decoder)


def _set_generation(model: Any, recipe: TextRecipe, codec: Codec) -> None:
    """Store the recipe's generation settings in the model. Raises UserError if the checkpoint's own conflict."""
    tokenizer = codec.target_tokenizer
    settings = model.generation_config
    settings.update(
        **recipe.generation.model_dump(),
        max_new_tokens=recipe.data.max_target_length,
        max_length=None,
        early_stopping=recipe.generation.num_beams > 1,
        decoder_start_token_id=codec.decoder_start,
        # Reset the checkpoint's sampling settings: save_pretrained rejects them together with beam search.
        do_sample=False,
        **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"), None),
    )
    if model.config.model_type == "encoder-decoder":
        settings.update(pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.sep_token_id, bos_token_id=None)
        model.config.pad_token_id, model.config.decoder_start_token_id = tokenizer.pad_token_id, codec.decoder_start
        model.config.vocab_size = model.config.decoder.vocab_size
    try:
        settings.validate(strict=True)  # fail now rather than when saving after hours of training
    except ValueError as error:
        what = " ".join(str(error).split())
        raise UserError(
            f"{recipe.model.pretrained}: its generation settings contradict each other: {what}",
            remedy=f"correct {GENERATION} in a copy of the checkpoint",
        ) from error
