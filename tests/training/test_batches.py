"""Blocks, masks and batches: what a model is trained on, token by token."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForQuestionAnswering

from llmkit.corpus.masking import Vocabulary, mask_block
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.word_pieces import WordPieces
from llmkit.models.collator import Collator
from llmkit.system.errors import UserError
from llmkit.tasks.head import training_collator
from llmkit.tasks.span.head import HEAD
from llmkit.tasks.values import Codec
from llmkit.training.batches import WEIGHTLESS, EpochBatches, MaskedBlocks, collate_blocks, last_without_weight

SPECIAL, MASK, WORDS = 5, 4, 50  # ids 0-4 are special, 4 is [MASK]
CONTINUES = (np.arange(WORDS) >= SPECIAL) & (np.arange(WORDS) % 3 == 0)
NONE = np.zeros(WORDS, bool)
VOCABULARY = Vocabulary(
    mask_id=MASK,
    special=np.arange(WORDS) < SPECIAL,
    ordinary=np.arange(SPECIAL, WORDS),
    words=WordPieces(begins=~CONTINUES, joins=NONE, ends=np.arange(WORDS) < SPECIAL, opens=NONE),
)


class Shards:
    """Documents in memory, with the face of TokenShards."""

    folder = Path("corpus")

    def __init__(self, documents: list[np.ndarray[Any, Any]], weights: list[float] | None = None) -> None:
        self.documents = documents
        self.lengths = np.array([len(document) for document in documents], np.int64)
        self.weights = np.array(weights or [1.0] * len(documents))

    def __len__(self) -> int:
        return len(self.documents)

    def tokens(self, document: int, start: int, stop: int) -> np.ndarray[Any, Any]:
        assert 0 <= start < stop <= len(self.documents[document]), "only tokens of the document are asked for"
        return self.documents[document][start:stop]


def shards(lengths: list[int], weights: list[float] | None = None) -> Any:
    """Documents whose tokens are all different, so that each can be followed."""
    starts = np.cumsum([0, *lengths])
    return Shards([np.arange(a, b) for a, b in pairwise(starts)], weights)


@given(st.lists(st.integers(3, 40), min_size=1, max_size=30), st.integers(8, 24))
def test_every_token_is_in_one_place(lengths: list[int], size: int) -> None:
    if sum(lengths) < size:
        with pytest.raises(UserError, match="do not fill one block"):
            PackedBlocks(shards(lengths), size)
        return
    blocks = PackedBlocks(shards(lengths), size)
    every = [blocks[number] for number in range(len(blocks))]
    assert np.concatenate([block.input_ids for block in every]).tolist() == list(range(len(blocks) * size))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for number, block in enumerate(every):
        owners = owner[number * size : (number + 1) * size]
        # A part starts where the document changes, and positions count from 0 within it.
        new = np.append(True, owners[1:] != owners[:-1])
        assert block.starts.tolist() == np.flatnonzero(new).tolist()
        assert (block.positions[new] == 0).all()
        assert (np.diff(block.positions)[~new[1:]] == 1).all()


def test_blocks_are_found_in_any_order() -> None:
    blocks = PackedBlocks(shards([7, 30, 4, 19, 50, 3]), 16)
    backwards = [blocks[number].input_ids.tolist() for number in reversed(range(len(blocks)))]
    assert backwards[::-1] == [blocks[number].input_ids.tolist() for number in range(len(blocks))]


def test_weights_repeat_and_thin_out_documents() -> None:
    blocks = PackedBlocks(shards([8] * 8, [2.0, 2.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0]), 8)
    documents = [int(blocks[number].input_ids[0]) // 8 for number in range(len(blocks))]
    assert documents == [0, 0, 1, 1, 3, 5, 6, 7]


ids = st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=80).map(np.array)


@given(ids, st.integers(0, 2**32 - 1), st.integers(0, 100), st.integers(0, 10**9), st.booleans())
def test_masks_are_a_function_of_seed_epoch_and_block(
    tokens: Any, seed: int, epoch: int, block: int, whole_words: bool
) -> None:
    key = {"probability": 0.15, "whole_words": whole_words, "seed": seed, "epoch": epoch, "block": block}
    masked, positions = mask_block(tokens, VOCABULARY, **key)
    again, positions_again = mask_block(tokens, VOCABULARY, **key)
    assert masked.tolist() == again.tolist()
    assert positions.tolist() == positions_again.tolist()
    allowed = np.flatnonzero(tokens >= SPECIAL)
    count = max(1, round(0.15 * len(allowed))) if len(allowed) else 0
    assert len(positions) == count or (whole_words and len(positions) > count)
    assert set(positions) <= set(allowed)
    assert (np.diff(positions) > 0).all()
    untouched = np.setdiff1d(np.arange(len(tokens)), positions)
    assert (masked[untouched] == tokens[untouched]).all()
    assert not ((masked < SPECIAL) & (masked != MASK) & (tokens >= SPECIAL)).any()


def test_masks_differ_between_epochs_and_blocks() -> None:
    tokens = np.arange(5, 50)
    key = {"probability": 0.3, "whole_words": False}
    seen = {
        tuple(mask_block(tokens, VOCABULARY, seed=seed, epoch=epoch, block=block, **key)[1])
        for seed in range(3)
        for epoch in range(3)
        for block in range(3)
    }
    assert len(seen) == 27


def test_eighty_ten_ten() -> None:
    tokens = np.full(1000, 7)
    fates = np.zeros(3)
    for block in range(100):
        masked, chosen = mask_block(
            tokens, VOCABULARY, probability=0.5, whole_words=False, seed=0, epoch=0, block=block
        )
        fates += [(masked[chosen] == MASK).sum(), (masked[chosen] == 7).sum(), 0]
    total = 100 * 500
    assert fates[0] / total == pytest.approx(0.8, abs=0.01)
    # 10 % are kept, and 1 in 45 of those that are swapped gets the same token.
    assert fates[1] / total == pytest.approx(0.1 + 0.1 / 45, abs=0.01)


def test_whole_words_are_masked_whole() -> None:
    # Words of three pieces: a start and two that continue it.
    tokens = np.array([5, 6, 9] * 60)
    _, chosen = mask_block(tokens, VOCABULARY, probability=0.2, whole_words=True, seed=1, epoch=0, block=0)
    pieces = np.bincount(chosen // 3, minlength=60)
    assert set(pieces) == {0, 3}
    assert len(chosen) == 36


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(workers: int) -> None:
    blocks = PackedBlocks(shards_of_words(), 16)
    data = MaskedBlocks(blocks, VOCABULARY, probability=0.15, whole_words=False, seed=3)
    batches = EpochBatches(len(data), 4, seed=3)
    batches.epoch = 2
    loader = DataLoader(data, batch_sampler=batches, collate_fn=collate_blocks, num_workers=workers)
    here = [collate_blocks([data[item] for item in batch]) for batch in batches]
    for got, expected in zip(loader, here, strict=True):
        assert {name: tensor.tolist() for name, tensor in got.items()} == {
            name: tensor.tolist() for name, tensor in expected.items()
        }


def shards_of_words() -> Any:
    random = np.random.default_rng(0)
    return Shards([random.integers(5, WORDS, size) for size in (20, 33, 47, 60, 12, 90)])


def test_targets_are_the_tokens_behind_the_masks() -> None:
    blocks = PackedBlocks(shards_of_words(), 16)
    data = MaskedBlocks(blocks, VOCABULARY, probability=0.3, whole_words=False, seed=3)
    batch = collate_blocks([data[number] for number in range(3)])
    original = np.concatenate([blocks[number].input_ids for number in range(3)])
    assert batch["labels"].tolist() == original[batch["masked_positions"].numpy()].tolist()


@settings(max_examples=settings.default.max_examples // 4)
@given(st.integers(1, 300), st.integers(1, 16), st.integers(0, 3), st.booleans(), st.integers(1, 4), st.integers(1, 4))
def test_an_epoch_holds_every_item_once(
    count: int, size: int, epoch: int, bucketed: bool, accumulation: int, processes: int
) -> None:
    lengths = np.random.default_rng(count).integers(1, 100, count) if bucketed else None
    batches = EpochBatches(count, size, seed=9, lengths=lengths, accumulation=accumulation, processes=processes)
    batches.epoch = epoch
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert drawn == list(batches), "the same order whenever it is asked for"
    whole, rest = drawn[: (batches.steps - 1) * accumulation * processes], drawn[-batches._last * processes :]
    assert all(len(batch) == size for batch in whole), "only the last step may be short"
    assert 1 <= min(map(len, rest)) <= max(map(len, rest)) <= min(size, min(map(len, rest)) + 1)
    # What fills up the last step is the last micro-batch of the last processes.
    last = epoch * batches.steps + batches.steps - 1
    fillers = sum(batches.fills_up(last, process) for process in range(processes))
    assert [batches.fills_up(last, process) for process in range(processes)][: processes - fillers].count(True) == 0
    real = drawn[: len(drawn) - fillers]
    assert sorted(item for batch in real for item in batch) == list(range(epoch * count, (epoch + 1) * count))
    assert all(batch == real[-1] for batch in drawn[len(real) :])
    assert sum(map(batches.items_in, range(batches.steps))) == count


@settings(max_examples=settings.default.max_examples // 4)
@given(st.integers(1, 200), st.booleans(), st.sampled_from([(12, 1, 1), (6, 2, 1), (2, 2, 3), (1, 3, 4), (4, 1, 3)]))
def test_a_step_takes_the_same_items_however_it_is_divided(count: int, bucketed: bool, parts: Any) -> None:
    lengths = np.random.default_rng(count).integers(1, 100, count) if bucketed else None
    size, accumulation, processes = parts
    whole = EpochBatches(count, 12, seed=9, lengths=lengths)
    divided = EpochBatches(count, size, seed=9, lengths=lengths, accumulation=accumulation, processes=processes)
    whole.epoch = divided.epoch = 1
    shard = [BatchSamplerShard(divided, processes, process) for process in range(processes)]
    dealt = [list(batches) for batches in shard]
    assert {len(batches) for batches in dealt} == {len(shard[0])}, "each process gets as many"
    for step, expected in enumerate(whole, start=whole.steps):
        assert expected == whole.items_of(step) == divided.items_of(step)
        first = step % whole.steps * accumulation
        own = [batches[first : first + accumulation] for batches in dealt]
        for process in range(processes):
            if divided.fills_up(step, process):
                own[process].pop()
        assert sorted(item for batches in own for batch in batches for item in batch) == sorted(expected)


def test_a_micro_batch_that_fills_up_has_no_targets() -> None:
    batches = [{"input_ids": torch.ones(2, 3), "labels": torch.tensor([1, 2])} for _ in range(3)]
    first, last = last_without_weight(iter(batches), 2)
    assert first == batches[0]
    assert last[WEIGHTLESS]
    assert last["labels"].tolist() == [-100, -100]
    assert batches[1]["labels"].tolist() == [1, 2]


def test_epochs_differ() -> None:
    batches = EpochBatches(100, 10, seed=0)
    first = [item for batch in batches for item in batch]
    batches.epoch = 1
    assert [item - 100 for batch in batches for item in batch] != first


def test_buckets_hold_items_of_a_like_length() -> None:
    lengths = np.random.default_rng(0).gamma(2.0, 60.0, 4000).astype(int) + 20
    batches = EpochBatches(4000, 16, seed=0, lengths=lengths)
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    assert 1 - lengths.sum() / padded < 0.05
    at_random = sum(lengths[batch].max() * len(batch) for batch in EpochBatches(4000, 16, seed=0))
    assert 1 - lengths.sum() / at_random > 0.3


def collator(*inputs: str, buckets: bool = False) -> Collator:
    """That of a model that finds answers and has 100 positions, whose tokenizer makes these inputs."""
    tokenizer: Any = SimpleNamespace(pad_token_id=0, model_input_names=inputs)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForQuestionAnswering(BertConfig(vocab_size=9, max_position_embeddings=100, **shape))
    return training_collator(HEAD, Codec(tokenizer), model, buckets=buckets)


def test_collator_pads_and_masks() -> None:
    rows = [
        {"input_ids": [2, 7, 3], "token_type_ids": [0, 0, 1], "length": 3, "start_positions": 1, "end_positions": 1},
        {"input_ids": [2] * 9, "token_type_ids": [1] * 9, "length": 9, "start_positions": 0, "end_positions": 0},
    ]
    batch = collator("input_ids", "token_type_ids")(rows)
    assert batch["input_ids"].shape == (2, 9)
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 9]
    assert batch["input_ids"][0].tolist() == [2, 7, 3] + [0] * 6
    assert batch["labels"].tolist() == [[1, 1], [0, 0]]
    few = collator("input_ids", buckets=True)
    assert few(rows)["input_ids"].shape == (2, 64)
    long = {"input_ids": [2] * 70, "length": 70, "start_positions": 0, "end_positions": 0}
    assert few([long])["input_ids"].shape == (1, 100), "no more than the model has positions"
    assert "token_type_ids" not in collator("input_ids")(rows)
