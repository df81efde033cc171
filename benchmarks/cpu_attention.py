"""Training steps in bf16 on a CPU: llmkit's attention, torch's, and transformers' own in Python.

    python benchmarks/cpu_attention.py

Each contender takes the same steps of the same model without dropout: forward and backward pass, clipping, AdamW. It is
for CPUs with bf16 instructions; others train in float32, with torch's attention.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import torch
from side_by_side import Figures, compare
from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM, PreTrainedModel

from llmkit.models.cpu_attention import train_by_products
from llmkit.system.machine import choose, keep_memory

VOCABULARY, STEPS = 8192, 8
NO_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MINILM: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
MINI: dict[str, Any] = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384}


def model_of(shape: str, attention: str) -> PreTrainedModel:
    """The model of a shape, with an attention: llmkit's, or one of transformers by its name."""
    torch.manual_seed(0)
    common = {"vocab_size": VOCABULARY, "attn_implementation": "sdpa" if attention == "llmkit" else attention}
    if shape == "MiniLM-L6":
        model: PreTrainedModel = BertForMaskedLM(BertConfig(**common, **MINILM, **NO_DROPOUT))
    else:
        model = ModernBertForMaskedLM(ModernBertConfig(**common, **MINI, pad_token_id=0))
    if attention == "llmkit":
        train_by_products(model, bf16=True)
    return model.train()


def tokens_per_second(shape: str, attention: str, rows: int, length: int) -> Figures:
    """The speed of the median step, and the loss after all of them."""
    model = model_of(shape, attention)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(5, VOCABULARY, (rows, length))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    times = []
    for _ in range(STEPS + 2):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    return {"tokens/s": rows * length / median(times[2:]), "loss": loss.item()}


def main() -> None:
    """Measure both shapes."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=5)
    given = options.parse_args()
    if torch.cuda.is_available() or not choose("auto").bf16:
        options.error("this machine does not train in bf16 on its CPU")
    keep_memory()
    for shape, rows, length in (("MiniLM-L6", 16, 176), ("modernbert-mini", 16, 128)):

        def contender(attention: str, of: tuple[str, int, int] = (shape, rows, length)) -> Any:
            name, *size = of
            return lambda _: tokens_per_second(name, attention, *size)

        contenders = {"llmkit": "llmkit", "torch's attention": "sdpa", "transformers' eager attention": "eager"}
        title = f"{shape}, {rows} × {length} tokens"
        compare(title, {name: contender(each) for name, each in contenders.items()}, runs=given.runs, speed="tokens/s")


if __name__ == "__main__":
    main()
