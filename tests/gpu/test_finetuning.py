"""Fine-tuning on a GPU: its kernel gives what padding gives on a CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import BertConfig, ModernBertConfig, RobertaConfig

from llmkit.models.packed_attention import uses_kernel
from llmkit.models.unpadded import unpad
from llmkit.tasks.head import training_collator
from llmkit.tasks.label.head import HEAD as LABEL
from llmkit.tasks.span.head import HEAD as SPAN
from llmkit.tasks.tags.head import HEAD as TAGS
from llmkit.tasks.values import Codec

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

WIDE: dict[str, Any] = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 256, "vocab_size": 1000}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CONFIGS = {
    "BERT": BertConfig(**WIDE, **NO_DROPOUT, num_hidden_layers=2),
    "RoBERTa": RobertaConfig(**WIDE, **NO_DROPOUT, num_hidden_layers=2, max_position_embeddings=514, pad_token_id=1),
    "ModernBERT": ModernBertConfig(**WIDE, num_hidden_layers=3, local_attention=32, pad_token_id=0),
}
LENGTHS = (5, 130, 77, 64, 31, 100)


def rows() -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(0)
    return [
        {
            "input_ids": torch.randint(9, 1000, (length,), generator=random).tolist(),
            "length": length,
            "start_positions": number,
            "end_positions": length - 1,
            "label": number % 2,
            "tag_labels": [position % 3 for position in range(length)],
        }
        for number, length in enumerate(LENGTHS)
    ]


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("head", [SPAN, LABEL, TAGS], ids=["span", "label", "tags"])
def test_the_kernel_gives_what_padding_gives_on_a_cpu(family: str, head: Any) -> None:
    torch.manual_seed(0)
    config = CONFIGS[family]
    config.num_labels = 2 if head is SPAN else 3
    model = head.auto.from_config(config).train()
    tokenizer: Any = SimpleNamespace(pad_token_id=config.pad_token_id, model_input_names=["input_ids"])

    def step(device: str, *, buckets: bool) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        batch = training_collator(head, Codec(tokenizer), model, buckets=buckets)(rows())
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        labels = batch.pop("labels")
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            outputs = model(**batch)
        loss = head.loss(outputs, labels, attention_mask=batch["attention_mask"])
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None])

    expected, gradient = step("cpu", buckets=False)
    unpad(model, bf16=True, training=True)
    assert uses_kernel(model)
    model.cuda()
    found, other = step("cuda", buckets=True)
    assert found == pytest.approx(expected, abs=2e-2)
    assert torch.nn.functional.cosine_similarity(gradient, other, dim=0) > 0.99


def test_an_attention_without_a_kernel_keeps_its_padding() -> None:
    heads_of_12 = BertConfig(**{**WIDE, "hidden_size": 24}, num_hidden_layers=1)
    model = SPAN.auto.from_config(heads_of_12)
    unpad(model, bf16=True)
    assert not uses_kernel(model)
