"""A pooler that a checkpoint lacks has no part in vectors, nor in what tells models apart."""

from __future__ import annotations

from pathlib import Path

import torch
from support.tasks import letters
from transformers import BertConfig, BertModel

from llmkit.models.checkpoint import Checkpoint
from llmkit.tasks import TASKS
from llmkit.tasks.inference import model_fingerprint
from llmkit.tasks.similarity.embedder import Embedder, Wanted


def test_a_model_without_a_pooler_is_the_same_in_each_process(tmp_path: Path) -> None:
    """So a killed prediction goes on."""
    tokenizer, task = letters(), TASKS["similarity"]
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape), add_pooling_layer=False).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    checkpoint = Checkpoint.named(str(tmp_path))
    found = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.add(model_fingerprint(*task.load_trained(checkpoint, task.data_class(validation="x"))))
    assert len(found) == 1
    embedder = Embedder(checkpoint, Wanted(), bf16=False)
    assert not any(weight.any() for name, weight in embedder.model.named_parameters() if name.startswith("pooler."))
