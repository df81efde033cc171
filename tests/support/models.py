"""Fine-tuned models of random weights, one for each kind of task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertLMHeadModel,
    BertModel,
    EncoderDecoderModel,
)

from support.families import FAMILIES, encoder_config
from support.tokenizer_families import tokenizer_of

CLASSES = {
    "squad": AutoModelForQuestionAnswering,
    "squad_v2": AutoModelForQuestionAnswering,
    "natural_questions": AutoModelForQuestionAnswering,
    "classification": AutoModelForSequenceClassification,
    "multilabel": AutoModelForSequenceClassification,
    "glue/qnli": AutoModelForSequenceClassification,
    "regression": AutoModelForSequenceClassification,
    "similarity": AutoModel,
    "ner": AutoModelForTokenClassification,
}


def write_model(folder: Path, task: str, family: str = "BERT") -> Path:
    """A fine-tuned model of random weights, with what says what it is for."""
    torch.manual_seed(0)
    names = {"ner": ("O", "B-PER"), "regression": ("score",)}.get(task, ("entailment", "not_entailment"))
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
    CLASSES[task].from_config(encoder_config(family, **labels)).save_pretrained(folder)
    tokenizer_of(FAMILIES[family][1]).save_pretrained(folder)
    data: dict[str, Any] = {"max_length": 60} | (
        {"doc_stride": 12} if CLASSES[task] is AutoModelForQuestionAnswering else {}
    )
    (folder / "llmkit.json").write_text(
        json.dumps({"format": 1, "task": task, "data": data, "null_threshold": -100.0 if task == "squad_v2" else None})
    )
    return folder


def write_writer(folder: Path) -> Path:
    """A model that translates: two BERTs."""
    torch.manual_seed(0)
    tokenizer = tokenizer_of("bert-uncased")
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
        "initializer_range": 0.8,  # so that what random weights write depends on what they read
    }
    decoder = BertConfig(is_decoder=True, add_cross_attention=True, **shape)
    model = EncoderDecoderModel(
        encoder=BertModel(BertConfig(**shape), add_pooling_layer=False), decoder=BertLMHeadModel(decoder)
    )
    first, last, padding = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    model.config.decoder_start_token_id, model.config.pad_token_id = first, padding
    model.generation_config.update(
        decoder_start_token_id=first, eos_token_id=last, pad_token_id=padding, max_new_tokens=8
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    data = {"max_length": 32, "max_target_length": 8, "source_column": "en", "target_column": "de"}
    purpose = {"format": 1, "task": "translation", "data": data, "null_threshold": None}
    (folder / "llmkit.json").write_text(json.dumps(purpose))
    return folder
