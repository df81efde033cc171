"""Tiny encoders of random weights, one of each family that people bring, with a tokenizer as its family has it.

folder = write_encoder("roberta", tmp_path)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from support.tokenizer_families import tokenizer_of

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.2,  # so that logits of random weights differ by more than rounding errors
}
# Positions start behind the padding token: 66 of them are 64 tokens.
ROBERTA: dict[str, Any] = {"max_position_embeddings": 66, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
RELATIVE: dict[str, Any] = {
    "max_position_embeddings": 64,
    "type_vocab_size": 0,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "max_relative_positions": -1,
    "position_biased_input": False,
}
BUCKETS: dict[str, Any] = {"position_buckets": 32, "norm_rel_ebd": "layer_norm", "share_att_key": True}
# The first layer attends to everything, the second to 8 tokens on each side.
LOCAL: dict[str, Any] = {"num_hidden_layers": 2, "max_position_embeddings": 64, "local_attention": 16}

# model_type, tokenizer, and what the configuration has besides SHAPE.
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BERT": ("bert", "bert-uncased", {"max_position_embeddings": 64}),
    "RoBERTa": ("roberta", "roberta", ROBERTA),
    "DistilBERT": (
        "distilbert",
        "bert-uncased",
        {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 64},
    ),
    "ELECTRA": ("electra", "bert-uncased", {"embedding_size": 16, "max_position_embeddings": 64}),
    "ALBERT": ("albert", "albert", {"embedding_size": 16, "max_position_embeddings": 64}),
    "DeBERTa": ("deberta", "modernbert", RELATIVE),
    "DeBERTa v2": ("deberta-v2", "deberta-v3", {**RELATIVE, "conv_kernel_size": 3, "conv_act": "gelu"}),
    "DeBERTa v3": ("deberta-v2", "deberta-v3", {**RELATIVE, **BUCKETS}),
    "XLM-R": ("xlm-roberta", "xlm-roberta", ROBERTA),
    "CamemBERT": ("camembert", "xlm-roberta", ROBERTA),
    "MPNet": ("mpnet", "mpnet", {"max_position_embeddings": 66}),
    "BigBird": ("big_bird", "deberta-v3", {"max_position_embeddings": 64, "block_size": 4, "num_random_blocks": 1}),
    "Longformer": ("longformer", "roberta", {**ROBERTA, "attention_window": 8}),
    "Funnel": (
        "funnel",
        "bert-uncased",
        {
            "architectures": ["FunnelModel"],
            "block_sizes": [1, 1],
            "block_repeats": [1, 1],
            "num_decoder_layers": 1,
            "d_model": 32,
            "n_head": 2,
            "d_head": 16,
            "d_inner": 64,
        },
    ),
    "ModernBERT": ("modernbert", "modernbert", LOCAL),
    "mmBERT": ("modernbert", "mmbert", LOCAL),
    "EuroBERT": ("eurobert", "eurobert", {"max_position_embeddings": 64, "num_key_value_heads": 2, "head_dim": 16}),
}


def encoder_config(family: str, **changes: Any) -> Any:
    """The configuration of a family's tiny encoder."""
    model_type, tokenizer, more = FAMILIES[family]
    ids = special_ids(tokenizer_of(tokenizer))
    # Some configurations name the width and depth otherwise: they take no others.
    shape = {} if model_type in ("distilbert", "funnel") else SHAPE
    settings = {"vocab_size": len(tokenizer_of(tokenizer)), **shape, **ids, **more, **changes}
    return AutoConfig.for_model(model_type, **settings)


def special_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int | None]:
    """The special tokens that a configuration knows."""
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }


def write_encoder(family: str, folder: Path, **changes: Any) -> Path:
    """Save the encoder of a family, without a head, and its tokenizer; returns the folder."""
    torch.manual_seed(0)
    AutoModel.from_config(encoder_config(family, **changes)).save_pretrained(folder)
    tokenizer_of(FAMILIES[family][1]).save_pretrained(folder)
    return folder
