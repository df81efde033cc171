"""What gpu.py compares with: transformers' own BERT on padded documents, with the vocabulary's head on every token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from made_up import SPECIAL, document_lengths

if TYPE_CHECKING:
    from gpu_parts import Bench, Figures

MASKED = 0.15
IGNORED = -100


def padded(bench: Bench, block: int) -> Figures:
    """The speed of steps of the batch's size, padding included. Batches are on the device before the clock starts."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    sizes, device = bench.sizes, "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model: Any = BertForMaskedLM(
        BertConfig(vocab_size=sizes.vocabulary, **sizes.base, attention_probs_dropout_prob=0.0)
    )
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    rows, pieces = sizes.piece // block, sizes.batch // sizes.piece
    batches = [_batch(rows, block, sizes.vocabulary, seed, sizes.document) for seed in range(pieces)]
    real = sum(int(batch["attention_mask"].sum()) for batch in batches)
    batches = [{name: tensor.to(device) for name, tensor in batch.items()} for batch in batches]

    def step() -> None:
        for batch in batches:
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                loss = model(**batch).loss / pieces
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(sizes.steps):
        step()
    _wait()
    began = time.perf_counter()
    for _ in range(2 * sizes.steps):
        step()
    _wait()
    seconds = time.perf_counter() - began
    return {
        "tokens_per_second": 2 * sizes.steps * real / seconds,
        "real_token_share": real / (rows * pieces * block),
    }


def _batch(rows: int, block: int, vocabulary: int, seed: int, document: int) -> dict[str, Any]:
    """Documents, cut where they are longer than a row, and padded where they are shorter."""
    import torch

    pieces: list[int] = []
    for length in document_lengths(4 * rows * block, document):
        pieces += [block] * (int(length) // block) + [int(length) % block] * (int(length) % block > 0)
    random = np.random.default_rng(seed)
    lengths = random.choice(pieces, rows)
    real = np.arange(block) < lengths[:, None]
    ids = np.where(real, random.integers(len(SPECIAL), vocabulary, (rows, block)), 0)
    targets = np.where(real & (random.random((rows, block)) < MASKED), ids, IGNORED)
    batch = {"input_ids": ids, "attention_mask": real.astype(np.int64), "labels": targets}
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
