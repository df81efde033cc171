"""Batches of an evaluation: a number of rows, or the tokens that a device computes at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llmkit.models.eval_batches import CPU_TOKENS, GPU_TOKENS, batches_of

LENGTHS = np.random.default_rng(0).integers(20, 385, 3000)
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("unpadded", [False, True])
@pytest.mark.parametrize(("device", "budget"), [(CPU, CPU_TOKENS), (GPU, GPU_TOKENS)])
def test_as_many_rows_as_hold_the_tokens(device: torch.device, budget: int, unpadded: bool) -> None:
    batches = batches_of(LENGTHS, None, device, unpadded=unpadded)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(LENGTHS)))
    found = [LENGTHS[batch] for batch in batches]
    assert all(np.diff(np.concatenate(found)) <= 0), "longest first"
    computed = [lengths.sum() if unpadded else lengths.max() * len(lengths) for lengths in found]
    assert max(computed) <= budget
    assert all(size + LENGTHS.max() > budget for size in computed[:-1]), "one more row would be too much"


def test_a_few_long_rows_do_not_pad_many_short_ones() -> None:
    lengths = np.array([512] * 10 + [20] * 1014)
    first, *others = batches_of(lengths, None, GPU, unpadded=True)
    assert len(first) == 2 * GPU_TOKENS // 512
    assert [len(batch) for batch in others] == [1024 - len(first)]


def test_a_number_wins_and_rows_are_limited() -> None:
    assert [len(batch) for batch in batches_of(LENGTHS[:10], 4, GPU)] == [4, 4, 2]
    assert [len(batch) for batch in batches_of(np.full(7, 10), None, GPU, max_rows=3)] == [3, 3, 1]
    long = np.array([GPU_TOKENS * 2, 10, GPU_TOKENS * 3])
    assert [batch.tolist() for batch in batches_of(long, None, GPU)] == [[2], [0], [1]]
