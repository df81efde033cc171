"""Recipe → model: a BERT from its shape, a checkpoint with the task's head, a masked-LM head that computes
only what the loss reads."""

from __future__ import annotations

from typing import Any, Literal

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import MaskedLMOutput

from llmkit.console import say
from llmkit.errors import UserError
from llmkit.hub import reading_from_the_hub
from llmkit.packed_attention import isolation
from llmkit.recipe import BertShape, FinetuneModelSection, ModelSection
from llmkit.rundir import resolve_model


class BertForMaskedLM(transformers.BertForMaskedLM):
    """BERT whose vocabulary-sized head runs on the masked tokens alone, over packed blocks.

    It has its parent's name, weights and file format: a checkpoint says and is a plain BertForMaskedLM.
    """

    accepts_loss_kwargs = True  # the Trainer hands over the global number of targets

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seq_lens: Tensor,
        masked_positions: Tensor,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
    ) -> MaskedLMOutput:
        """Shapes: input_ids, position_ids [B, L]; cu_seq_lens, where the documents of the flattened batch start,
        and its end, int32, [D + 1]; masked_positions, places in the flattened batch, and labels, the tokens
        there, [T].

        The loss is summed over targets and divided by `num_items_in_batch`, the targets of all micro-batches
        and processes of this step, or else by T.
        """
        hidden = self.bert(
            input_ids, position_ids=position_ids, **isolation(self.config, input_ids, cu_seq_lens)
        ).last_hidden_state
        logits = self.cls(hidden.flatten(0, 1)[masked_positions])
        total = cross_entropy(logits.float(), labels, reduction="sum")
        return MaskedLMOutput(loss=total / (num_items_in_batch if num_items_in_batch is not None else len(labels)))


def model_for_pretraining(
    section: ModelSection, tokenizer: PreTrainedTokenizerFast, block_size: int
) -> BertForMaskedLM:
    """A BERT to pretrain: from its shape with random weights, or on from a checkpoint.

    Raises UserError where a checkpoint is no BERT or its vocabulary is not the corpus's.
    """
    if section.config is not None:
        return BertForMaskedLM(_bert_config(section.config, tokenizer))
    assert section.pretrained is not None
    path = resolve_model(section.pretrained)
    config = _config_of(path)
    if config.model_type != "bert":
        raise UserError(
            f"{section.pretrained} is a {config.model_type} model", remedy="pretraining goes on from a BERT"
        )
    _check_vocabulary(tokenizer, config, section.pretrained)
    if block_size > config.max_position_embeddings:
        raise UserError(
            f"corpus.block_size {block_size} exceeds the {config.max_position_embeddings} positions of "
            f"{section.pretrained}",
            remedy=f"set corpus.block_size={config.max_position_embeddings}",
        )
    model: BertForMaskedLM
    model, info = _load(BertForMaskedLM, path)
    if fresh := _fresh(info):
        say(f"{section.pretrained} has no masked-LM head: {', '.join(fresh)} starts from random weights")
    return model


def model_for_task(
    section: FinetuneModelSection, head: Literal["span"], tokenizer: PreTrainedTokenizerFast, max_length: int
) -> PreTrainedModel:
    """A model to fine-tune: a checkpoint's encoder, or a BERT of random weights, with the task's head."""
    if section.config is not None:
        model: PreTrainedModel = BertForQuestionAnswering(_bert_config(section.config, tokenizer))
        positions = section.config.max_position_embeddings
        name = "model.config"
    else:
        assert section.pretrained is not None
        name, path = section.pretrained, resolve_model(section.pretrained)
        config = _config_of(path)
        _check_vocabulary(tokenizer, config, name)
        positions = getattr(config, "max_position_embeddings", max_length)
        for key in ("attention_probs_dropout_prob", "attention_dropout"):  # BERT's name, and that of others
            if hasattr(config, key):
                setattr(config, key, section.attention_probs_dropout_prob or 0.0)
        model, info = _load(AutoModelForQuestionAnswering, path, config=config)
        if fresh := _fresh(info):
            say(f"{name} has no question-answering head yet: {', '.join(fresh)} starts from random weights")
    if max_length > positions:
        raise UserError(
            f"data.max_length {max_length} exceeds the {positions} positions of {name}",
            remedy=f"set data.max_length={positions} and a data.doc_stride of about a third of it",
        )
    return model


def trained_model(name: str, head: Literal["span"]) -> PreTrainedModel:
    """A model that has the head already, to evaluate or to ask. Raises UserError where it has another."""
    path = resolve_model(name)
    config = _config_of(path)
    model: PreTrainedModel
    model, info = _load(AutoModelForQuestionAnswering, path)
    if _fresh(info):
        had = ", ".join(config.architectures or []) or config.model_type
        raise UserError(
            f"{name} has no question-answering head (it is a {had})",
            remedy=f"fine-tune it first: llmkit finetune --task squad model.pretrained={name}",
        )
    return model


def positions_of(name: str) -> int | None:
    """The longest input of a run's model or a checkpoint, in tokens; None where it has no limit."""
    positions: int | None = getattr(_config_of(resolve_model(name)), "max_position_embeddings", None)
    return positions


def is_encoder_decoder(name: str) -> bool:
    """Whether a run's model or a checkpoint writes text."""
    return bool(_config_of(resolve_model(name)).is_encoder_decoder)


def describe(model: PreTrainedModel) -> str:
    """One line: class, layers, width, parameters."""
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    shape = f"{getattr(config, 'num_hidden_layers', '?')} × {getattr(config, 'hidden_size', '?')}"
    return f"{type(model).__name__}, {shape}, {parameters / 1e6:.1f} M parameters"


def _bert_config(shape: BertShape, tokenizer: PreTrainedTokenizerFast) -> BertConfig:
    return BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape.model_dump())


def _config_of(path: str) -> Any:
    try:
        with reading_from_the_hub("model", path):
            return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be loaded: {str(error).splitlines()[0]}",
            remedy="give a checkpoint that transformers' AutoConfig reads",
        ) from error


def _check_vocabulary(tokenizer: PreTrainedTokenizerFast, config: Any, name: str) -> None:
    if len(tokenizer) > config.vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer):,} tokens, the vocabulary of {name} {config.vocab_size:,}",
            remedy="use the tokenizer that the checkpoint was trained with",
        )


def _load(kind: Any, path: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Weights in float32 from safetensors, and what was missing among them."""
    try:
        with reading_from_the_hub("model", path):
            model, info = kind.from_pretrained(
                path,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be loaded: {str(error).splitlines()[0]}",
            remedy="llmkit reads safetensors only; convert other checkpoints with transformers",
        ) from error
    return model, info


def _fresh(info: dict[str, Any]) -> list[str]:
    """Top-level modules that the checkpoint did not hold, a pooler that is not used aside."""
    return sorted({name.split(".")[0] for name in info["missing_keys"] if "pooler" not in name})
