"""Recipe → encoder-decoder: a checkpoint of one, or two BERTs, and the vocabularies it reads and writes with."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoModel, AutoModelForCausalLM, EncoderDecoderModel, GenerationConfig, PreTrainedModel

from llmkit.corpus.tokenizer import DECODER_TOKENIZER, load_tokenizer, save_tokenizer, train_bpe
from llmkit.models.checkpoint import bert_config, check_length, config_of, load, set_attention_dropout
from llmkit.models.heads import HEADS
from llmkit.recipes.finetuning import TextRecipe
from llmkit.system.cache import cached, fingerprint
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.files import to_json, write_whole
from llmkit.system.hub import file_of, reading_from_the_hub
from llmkit.system.run_folder import resolve_model
from llmkit.tasks.base import Codec

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast


GENERATION = "generation_config.json"


def text_codec(recipe: TextRecipe, train: Dataset) -> Codec:
    """The vocabularies of a model to train: loaded, or trained on the training examples and kept in the cache."""
    section = recipe.model
    targets = train["target"]
    if section.vocab_size is not None:
        shared = section.decoder_vocab_size is None
        texts = [*train["source"], *targets] if shared else train["source"]
        tokenizer = _trained(texts, section.vocab_size)
    else:
        tokenizer = load_tokenizer(str(section.tokenizer or section.pretrained))
    own = _trained(targets, section.decoder_vocab_size) if section.decoder_vocab_size is not None else None
    writer = own or tokenizer
    if section.pretrained is not None:
        config = config_of(resolve_model(section.pretrained))
        if config.is_encoder_decoder:
            if own is not None:
                raise UserError(
                    f"{section.pretrained} is an encoder-decoder, which has a vocabulary to write with",
                    remedy="leave out model.decoder_vocab_size",
                )
            return codec_of_trained(section.pretrained)
    if writer.cls_token_id is None or writer.sep_token_id is None:
        raise UserError("the tokenizer has no [CLS] and [SEP] tokens", remedy="use that of a BERT-like encoder")
    return Codec(tokenizer, own_target_tokenizer=own, decoder_start=writer.cls_token_id)


def codec_of_trained(name: str) -> Codec:
    """The vocabularies of an encoder-decoder that exists."""
    path = resolve_model(name)
    config = config_of(path)
    own = None
    if config.model_type == "encoder-decoder" and file_of(path, f"{DECODER_TOKENIZER}/tokenizer.json"):
        own = load_tokenizer(path, subfolder=DECODER_TOKENIZER)
    return Codec(load_tokenizer(name), own_target_tokenizer=own, decoder_start=_start_of(name, path, config))


def _start_of(name: str, path: str, config: Any) -> int:
    """The token that texts are written after, where transformers looks for it."""
    if file_of(path, GENERATION):
        with reading_from_the_hub("model", path):
            settings = GenerationConfig.from_pretrained(path)
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
        f"{name} does not say after which token a text is written",
        remedy=f"write it as decoder_start_token_id into its {GENERATION}",
    )


def _trained(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    texts = list(dict.fromkeys(texts))

    def build(aside: Path) -> None:
        say(f"training a BPE vocabulary of {vocab_size:,} on {len(texts):,} texts")
        save_tokenizer(train_bpe(texts, vocab_size), aside / "tokenizer")
        write_whole(aside / "manifest.json", to_json({"key": key}))

    key = {"format": 1, "vocab_size": vocab_size, "texts": fingerprint(texts)}
    return load_tokenizer(str(cached("vocabularies", key, build) / "tokenizer"))


def encoder_decoder(recipe: TextRecipe, codec: Codec) -> PreTrainedModel:
    """The model to train. Raises UserError where the checkpoint does not suit."""
    section, data = recipe.model, recipe.data
    longest = max(data.max_length, data.max_target_length)
    model: Any
    if section.config is not None:
        encoder_config = bert_config(section.config, codec.tokenizer)
        decoder_config = bert_config(section.config, codec.target_tokenizer)
        decoder_config.is_decoder = decoder_config.add_cross_attention = True
        check_length(longest, section.config.max_position_embeddings, "model.config")
        model = EncoderDecoderModel(
            encoder=AutoModel.from_config(encoder_config, add_pooling_layer=False),
            decoder=AutoModelForCausalLM.from_config(decoder_config),
        )
    else:
        assert section.pretrained is not None
        path = resolve_model(section.pretrained)
        config = config_of(path)
        check_length(longest, getattr(config, "max_position_embeddings", longest), section.pretrained)
        set_attention_dropout(config, section)
        if config.is_encoder_decoder:
            model, _ = load(HEADS["text"].auto, path, config=config)
        else:
            model = _two_halves(section.pretrained, path, config, codec)
    _set_generation(model, recipe, codec)
    return model  # type: ignore[no-any-return]


def _two_halves(name: str, path: str, config: Any, codec: Codec) -> EncoderDecoderModel:
    own = codec.own_target_tokenizer is not None
    decoder_config = deepcopy(config)
    decoder_config.is_decoder = decoder_config.add_cross_attention = True
    decoder_config.vocab_size = len(codec.target_tokenizer) if own else config.vocab_size
    decoder_config.pad_token_id = codec.target_tokenizer.pad_token_id
    try:
        encoder, _ = load(AutoModel, path, config=config, add_pooling_layer=False)
        decoder, _ = load(AutoModelForCausalLM, path, config=decoder_config, ignore_mismatched_sizes=own)
    except TypeError as error:  # an encoder that takes no pooling layer, or no decoder of its kind
        raise UserError(
            f"{name} is a {config.model_type}, which makes no decoder",
            remedy="use a BERT-like encoder, or an encoder-decoder",
        ) from error
    fresh = "attention to the encoder" + (" and the decoder's vocabulary" if own else "")
    say(f"{name} is an encoder: both halves start from its weights, {fresh} from random ones")
    return EncoderDecoderModel(encoder=encoder, decoder=decoder)


def _set_generation(model: Any, recipe: TextRecipe, codec: Codec) -> None:
    """How the model is to write is kept with it."""
    writer = codec.target_tokenizer
    settings = model.generation_config
    settings.update(
        **recipe.generation.model_dump(),
        max_new_tokens=recipe.data.max_target_length,
        max_length=None,
        early_stopping=recipe.generation.num_beams > 1,
        decoder_start_token_id=codec.decoder_start,
        # Settings of a checkpoint for drawing at random; beside a search they are refused when the model is saved.
        do_sample=False,
        **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"), None),
    )
    if model.config.model_type == "encoder-decoder":
        settings.update(pad_token_id=writer.pad_token_id, eos_token_id=writer.sep_token_id, bos_token_id=None)
        model.config.pad_token_id, model.config.decoder_start_token_id = writer.pad_token_id, codec.decoder_start
        model.config.vocab_size = model.config.decoder.vocab_size
    try:
        settings.validate(strict=True)  # now, not when hours of training are to be saved
    except ValueError as error:
        what = " ".join(str(error).split())
        raise UserError(
            f"{recipe.model.pretrained}: its generation settings do not go together: {what}",
            remedy=f"correct {GENERATION} in a copy of it",
        ) from error
