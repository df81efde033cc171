"""Blocks, masks and batches: what a model is trained on, token by token."""

from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, skip_first_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForQuestionAnswering

from llmkit.corpus.masking import Masks, Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.word_pieces import WordPieces
from llmkit.models.collator import Collator
from llmkit.system.errors import UserError
from llmkit.tasks.head import training_collator
from llmkit.tasks.span.head import HEAD
from llmkit.tasks.values import Codec
from llmkit.training.batches import WEIGHTLESS, EpochBatches, MaskedBlocks, collate_blocks, last_without_weight
from llmkit.training.feeding import batch_loader

SPECIAL, MASK, WORDS = 5, 4, 50  # ids 0-4 are special, 4 is [MASK]
IS_SPECIAL = np.arange(WORDS) < SPECIAL
CONTINUES = (np.arange(WORDS) >= SPECIAL) & (np.arange(WORDS) % 3 == 0)
NONE = np.zeros(WORDS, bool)
VOCABULARY = Vocabulary(
    mask_id=MASK,
    special=IS_SPECIAL,
    ordinary=np.arange(SPECIAL, WORDS),
    words=WordPieces(begins=~CONTINUES, joins=NONE, ends=IS_SPECIAL, opens=NONE, special=IS_SPECIAL),
)


class Shards:
    """Documents in memory, in files of three, with the face of TokenShards."""

    folder = Path("corpus")

    def __init__(self, documents: list[np.ndarray[Any, Any]], weights: list[float] | None = None) -> None:
        self.documents = documents
        self.lengths = np.array([len(document) for document in documents], np.int64)
        self.weights = np.array(weights or [1.0] * len(documents))
        self.files = [np.concatenate(documents[start : start + 3]) for start in range(0, len(documents), 3)]
        self.file = np.arange(len(documents)) // 3
        self.first = np.array([sum(self.lengths[d // 3 * 3 : d]) for d in range(len(documents))])

    def __len__(self) -> int:
        return len(self.documents)


def shards(lengths: list[int], weights: list[float] | None = None) -> Any:
    """Documents whose tokens are all different, so that each can be followed."""
    starts = np.cumsum([0, *lengths])
    return Shards([np.arange(a, b) for a, b in pairwise(starts)], weights)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(8, 24))
def test_every_token_is_in_one_place(lengths: list[int], size: int) -> None:
    if sum(lengths) < size:
        with pytest.raises(UserError, match="do not fill one block"):
            PackedBlocks(shards(lengths), size)
        return
    blocks = PackedBlocks(shards(lengths), size)
    every = blocks.read(np.arange(len(blocks)))
    assert every.input_ids.reshape(-1).tolist() == list(range(len(blocks) * size))
    owner = np.repeat(np.arange(len(lengths)), lengths)[: len(blocks) * size]
    # A part starts where the document changes or a block does, and positions count from 0 within it.
    new = np.append(True, owner[1:] != owner[:-1]) | (np.arange(len(owner)) % size == 0)
    assert every.starts.tolist() == np.flatnonzero(new).tolist()
    positions = every.positions.reshape(-1)
    assert (positions[new] == 0).all()
    assert (np.diff(positions)[~new[1:]] == 1).all()


@given(st.integers(0, 2**32 - 1), st.integers(8, 24))
def test_blocks_are_found_in_any_order(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    lengths, weights = random.integers(1, 60, 12).tolist(), random.choice([0.5, 1.0, 2.0, 1.5], 12).tolist()
    blocks = PackedBlocks(shards([*lengths, 50], [*weights, 1.0]), size)
    chosen = random.integers(len(blocks), size=7)
    together = blocks.read(chosen)
    alone = [blocks.read(chosen[n : n + 1]) for n in range(7)]
    assert together.input_ids.tolist() == [block.input_ids[0].tolist() for block in alone]
    assert together.positions.tolist() == [block.positions[0].tolist() for block in alone]
    assert together.starts.tolist() == [n * size + start for n, block in enumerate(alone) for start in block.starts]


@pytest.mark.parametrize("number", [-1, 7])
def test_there_is_no_other_block(number: int) -> None:
    with pytest.raises(IndexError):
        PackedBlocks(shards([7, 30, 4, 19, 50, 3]), 16).read(np.array([0, number]))


def test_weights_repeat_and_thin_out_documents() -> None:
    blocks = PackedBlocks(shards([8] * 8, [2.0, 2.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0]), 8)
    documents = blocks.read(np.arange(len(blocks))).input_ids[:, 0] // 8
    assert documents.tolist() == [0, 0, 1, 1, 3, 5, 6, 7]


def mask(tokens: Any, *, probability: float, masking: Any, seed: int, epoch: int, block: int) -> tuple[Any, Any]:
    """Mask one block."""
    masks = Masks(VOCABULARY, masking=masking, seed=seed)
    masked, positions = masks.mask(tokens[None], np.array([epoch]), np.array([block]), probability)
    return masked[0], positions


def mask_simply(tokens: Any, *, probability: float, masking: Any, seed: int, epoch: int, block: int) -> tuple[Any, Any]:
    """The same with a generator of its own: these bits are what resumed runs rely on."""
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, epoch, block]))
    allowed = np.flatnonzero(tokens >= SPECIAL)
    masked = tokens.copy()
    if not len(allowed):
        return masked, allowed
    count = max(1, round(probability * len(allowed)))
    begins = [not CONTINUES[tokens[n]] or (n > 0 and tokens[n - 1] < SPECIAL) for n in allowed]
    words = np.cumsum(begins)
    if masking == "spans":
        span = spans_simply([allowed[words == word].tolist() for word in np.unique(words)], rng)
        order = rng.permutation(len(span)).tolist()
        draw_of, draws = rng.random(len(span)), dict[int, float]()
        for number in sorted(range(len(span)), key=order.__getitem__):
            for word in span[number]:
                if len(draws) < count:
                    draws |= dict.fromkeys(word, draw_of[number])
        chosen = np.array(sorted(draws))
        draw = np.array([draws[place] for place in chosen.tolist()])
    else:
        if masking == "whole_words":
            rank = rng.permutation(int(words[-1]) + 1)[words]
            chosen = allowed[rank <= np.sort(rank)[count - 1]]
        else:
            chosen = np.sort(rng.permutation(allowed)[:count])
        draw = rng.random(len(chosen))
    replacement = SPECIAL + rng.integers(WORDS - SPECIAL, size=len(chosen))
    for place, decides, other in zip(chosen, draw, replacement, strict=True):
        masked[place] = tokens[place] if decides < 0.1 else other if decides < 0.2 else MASK
    return masked, chosen


def spans_simply(words: list[list[int]], rng: np.random.Generator) -> list[list[list[int]]]:
    """Words, each a list of places, in spans: one after the other, around the block from some word to that word."""
    lengths = [next(n for n in range(1, 11) if chance < (1 - 0.8**n) / (1 - 0.8**10) or n == 10)
               for chance in rng.random(len(words))]  # fmt: skip
    first = -int(rng.integers(len(words))) % len(words)
    around = words[first:] + words[:first]
    spans = [around[end - length : end] for length, end in zip(lengths, accumulate(lengths), strict=True)]
    return [span for span in spans if span]


KINDS = st.sampled_from(["tokens", "whole_words", "spans"])


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 80),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10**9)), min_size=1, max_size=5),
    KINDS,
    st.floats(0.01, 0.99),
)
def test_masks_are_a_function_of_seed_epoch_and_block(
    seed: int, size: int, which: list[tuple[int, int]], masking: Any, probability: float
) -> None:
    tokens = np.random.default_rng(seed).integers(0, WORDS, (len(which), size))
    tokens[0, : size // 2] %= SPECIAL
    epochs, blocks = np.array(which).T
    masks = Masks(VOCABULARY, masking=masking, seed=seed)
    masked, positions = masks.mask(tokens, epochs, blocks, probability)
    again, positions_again = masks.mask(tokens[::-1], epochs[::-1], blocks[::-1], probability)
    assert masked.tolist() == again[::-1].tolist(), "whatever was masked before"
    assert len(positions) == len(positions_again)
    for number, (epoch, block) in enumerate(which):
        key = {"probability": probability, "masking": masking, "seed": seed, "epoch": epoch, "block": block}
        expected, chosen = mask_simply(tokens[number], **key)
        assert masked[number].tolist() == expected.tolist()
        assert positions[positions // size == number].tolist() == (number * size + chosen).tolist()


ids = st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=80).map(np.array)


@given(ids, st.integers(0, 2**32 - 1), KINDS)
def test_as_many_are_masked_as_should_be(tokens: Any, seed: int, masking: Any) -> None:
    masked, positions = mask(tokens, probability=0.15, masking=masking, seed=seed, epoch=0, block=0)
    allowed = np.flatnonzero(tokens >= SPECIAL)
    count = max(1, round(0.15 * len(allowed))) if len(allowed) else 0
    assert len(positions) == count or (masking != "tokens" and len(positions) > count)
    assert set(positions) <= set(allowed)
    assert (np.diff(positions) > 0).all()
    untouched = np.setdiff1d(np.arange(len(tokens)), positions)
    assert (masked[untouched] == tokens[untouched]).all()
    assert not ((masked < SPECIAL) & (masked != MASK) & (tokens >= SPECIAL)).any()


def test_masks_differ_between_epochs_and_blocks() -> None:
    tokens = np.arange(5, 50)
    key = {"probability": 0.3, "masking": "tokens"}
    seen = {
        tuple(mask(tokens, seed=seed, epoch=epoch, block=block, **key)[1])
        for seed in range(3)
        for epoch in range(3)
        for block in range(3)
    }
    assert len(seen) == 27


def test_eighty_ten_ten() -> None:
    tokens = np.full((100, 1000), 7)
    masks = Masks(VOCABULARY, masking="tokens", seed=0)
    masked, chosen = masks.mask(tokens, np.zeros(100, int), np.arange(100), 0.5)
    fates = masked.reshape(-1)[chosen]
    assert len(chosen) == 100 * 500
    assert (fates == MASK).mean() == pytest.approx(0.8, abs=0.01)
    # 10 % are kept, and 1 in 45 of those that are swapped gets the same token.
    assert (fates == 7).mean() == pytest.approx(0.1 + 0.1 / 45, abs=0.01)


def test_whole_words_are_masked_whole() -> None:
    # Words of three pieces: a start and two that continue it.
    tokens = np.array([5, 6, 9] * 60)
    _, chosen = mask(tokens, probability=0.2, masking="whole_words", seed=1, epoch=0, block=0)
    pieces = np.bincount(chosen // 3, minlength=60)
    assert set(pieces) == {0, 3}
    assert len(chosen) == 36


def test_every_word_is_as_likely_to_be_in_a_span() -> None:
    """Two documents of 60 words of one to three tokens each, with [SEP] [CLS] between them."""
    document = [5, 7, 6, 8, 6, 9] * 20
    tokens = np.array([*document, 0, 0, *document])
    word = np.cumsum(~CONTINUES[tokens]) - 1
    masks = Masks(VOCABULARY, masking="spans", seed=1)
    masked, chosen = masks.mask(np.tile(tokens, (2000, 1)), np.zeros(2000, int), np.arange(2000), 0.15)
    taken, is_mask = np.zeros((2, 2000 * len(tokens)), bool)
    taken[chosen] = True
    is_mask[chosen] = masked.reshape(-1)[chosen] == MASK
    by_token = taken.reshape(2000, -1)
    for pieces in np.split(by_token, np.flatnonzero(np.diff(word)) + 1, axis=1):
        assert (pieces.all(axis=1) == pieces.any(axis=1)).all(), "whole words"
    assert not by_token[:, 120:122].any()
    share = by_token.mean(axis=0)
    assert np.delete(share, [120, 121]) == pytest.approx(0.155, abs=0.035)
    assert is_mask.sum() / taken.sum() == pytest.approx(0.8, abs=0.015)
    # What follows a masked token is masked too where it is of the same span: as it is four times of five.
    assert (by_token[:, 1:] & by_token[:, :-1]).sum() / taken.sum() > 0.8


def test_words_at_the_edges_of_a_document_are_as_likely() -> None:
    """Four documents of ten words in a block, with [SEP] [CLS] between them."""
    count = 10_000
    tokens = np.array([*[5] * 10, 0, 0] * 4)
    masks = Masks(VOCABULARY, masking="spans", seed=1)
    _, chosen = masks.mask(np.tile(tokens, (count, 1)), np.zeros(count, int), np.arange(count), 0.15)
    taken = np.bincount(chosen % len(tokens), minlength=len(tokens)).reshape(4, 12)[:, :10] / count
    assert taken == pytest.approx(0.15, abs=0.015)
    assert taken.mean(axis=0) == pytest.approx(0.15, abs=0.0075), "by the place in a document"


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(workers: int) -> None:
    blocks = PackedBlocks(shards_of_words(), 16)
    data = MaskedBlocks(blocks, VOCABULARY, probability=0.15, masking="spans", seed=3)
    batches = EpochBatches(len(data), 4, seed=3)
    batches.epoch = 2
    loader = batch_loader(data, batches, collate_blocks, workers=workers, ahead=3)
    here = [collate_blocks(data.__getitems__(batch)) for batch in batches]
    for got, expected in zip(loader, here, strict=True):
        assert {name: tensor.tolist() for name, tensor in got.items()} == {
            name: tensor.tolist() for name, tensor in expected.items()
        }


@pytest.mark.parametrize("workers", [0, 2])
def test_the_masked_fraction_changes_with_the_steps_of_the_run(workers: int) -> None:
    """Whenever a batch is drawn, in whatever process, and where a resumed run skips those before it."""
    blocks, steps = PackedBlocks(shards_of_words(), 16), 8
    data = MaskedBlocks(blocks, VOCABULARY, probability=(0.8, 0.2), masking="tokens", seed=3)
    batches = EpochBatches(len(data), 4, seed=3, share=lambda step: step / steps)
    for epoch in range(steps // batches.steps):
        batches.epoch = epoch
        loader = batch_loader(data, batches, collate_blocks, workers=workers, ahead=3)
        drawn = [batch["masked_positions"].tolist() for batch in loader]
        for number, (positions, items) in enumerate(zip(drawn, batches, strict=True)):
            fraction = 0.8 - 0.6 * (epoch * batches.steps + number) / steps
            constant = MaskedBlocks(blocks, VOCABULARY, probability=fraction, masking="tokens", seed=3)
            assert positions == constant.__getitems__(list(items))["masked_positions"].tolist()
            assert len(positions) == pytest.approx(fraction * 16 * len(items), abs=0.5 * len(items))
        later = skip_first_batches(loader, 2)
        assert [batch["masked_positions"].tolist() for batch in later] == drawn[2:]


def test_items_without_a_share_have_the_most_targets() -> None:
    blocks = PackedBlocks(shards_of_words(), 16)
    for pair in ((0.5, 0.1), (0.1, 0.5)):
        data = MaskedBlocks(blocks, VOCABULARY, probability=pair, masking="tokens", seed=3)
        assert len(data.__getitems__([0, 1])["labels"]) == 16


def shards_of_words() -> Any:
    random = np.random.default_rng(0)
    return Shards([random.integers(5, WORDS, size) for size in (20, 33, 47, 60, 12, 90)])


def test_targets_are_the_tokens_behind_the_masks() -> None:
    blocks = PackedBlocks(shards_of_words(), 16)
    data = MaskedBlocks(blocks, VOCABULARY, probability=0.3, masking="tokens", seed=3)
    batch = collate_blocks(data.__getitems__(range(3)))
    original = blocks.read(np.arange(3)).input_ids.reshape(-1)
    assert batch["labels"].tolist() == original[batch["masked_positions"].numpy()].tolist()


def test_few_shapes_hold_the_same_targets_and_documents() -> None:
    data = MaskedBlocks(PackedBlocks(shards_of_words(), 16), VOCABULARY, probability=0.3, masking="tokens", seed=3)
    shapes = set()
    for first in range(8):
        exact = collate_blocks(data.__getitems__(range(first, first + 8)))
        batch = collate_blocks(data.__getitems__(range(first, first + 8)), few_shapes=True)
        shapes.add(tuple(tuple(tensor.shape) for tensor in batch.values()))
        for name, tensor in exact.items():
            assert batch[name].dtype == tensor.dtype
            assert batch[name].reshape(-1)[: tensor.numel()].tolist() == tensor.reshape(-1).tolist()
        assert batch["labels"][len(exact["labels"]) :].eq(-100).all()
        assert batch["masked_positions"][len(exact["labels"]) :].eq(0).all()
        assert batch["cu_seq_lens"].diff().ge(0).all()
        assert batch["cu_seq_lens"][-1] == exact["input_ids"].numel()
    assert shapes == {((8, 16), (8, 16), (65,), (64,), (64,))}


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
