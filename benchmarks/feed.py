"""How fast batches for masked-LM pretraining are made, by llmkit and as transformers' run_mlm.py makes them.

Both read the same blocks: llmkit from token shards, masking as it reads; the other from a data set of blocks on disk,
which transformers' DataCollatorForLanguageModeling masks and pads. One process, one thread, in turn:

    python benchmarks/feed.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import numpy as np
import torch
from side_by_side import LLMKIT, Figures, compare, run
from torch.utils.data import DataLoader
from transformers import DataCollatorForLanguageModeling

from llmkit.corpus.masking import Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import TokenShards
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.recipes.corpus import Masking
from llmkit.training.batches import EpochBatches, MaskedBlocks, collate_blocks
from llmkit.training.feeding import batch_loader

MASKING: tuple[Masking, ...] = ("tokens", "whole_words", "spans")
TOKENS = 4096  # in a batch


def speed(loader: DataLoader[Any], batches: Sequence[list[int]], size: int) -> Figures:
    """Tokens per second of CPU, from making all batches once."""
    began, clock = time.perf_counter(), time.process_time()
    for _ in loader:
        pass
    tokens = sum(map(len, batches)) * size
    return {
        "tokens/s of CPU": tokens / (time.process_time() - clock),
        "tokens/s": tokens / (time.perf_counter() - began),
    }


def contenders(shards: Path, work: Path, size: int, count: int) -> dict[str, Any]:
    """A measurement of `count` batches for each way to make them."""
    tokenizer = load_tokenizer(str(shards / "tokenizer"))
    blocks = PackedBlocks(TokenShards(shards, "train"), size)
    ours, words, spans = (
        MaskedBlocks(blocks, Vocabulary.of(tokenizer), probability=0.15, masking=masking, seed=42)
        for masking in MASKING
    )
    batches = _First(len(blocks), max(1, TOKENS // size), count)
    rows = datasets.Dataset.from_dict(
        {
            "input_ids": blocks.read(np.arange(len(blocks))).input_ids.tolist(),
            "attention_mask": np.ones((len(blocks), size), np.int8).tolist(),
        }
    )
    rows.save_to_disk(str(work / f"rows-{size}"))
    theirs: Any = datasets.load_from_disk(str(work / f"rows-{size}"))
    collate: Any = DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=0.15)
    loaders = {
        "llmkit": batch_loader(ours, batches, collate_blocks, workers=0, ahead=1),
        "run_mlm.py's feeding": DataLoader(theirs, batch_sampler=batches, collate_fn=collate),
        "llmkit, whole words": batch_loader(words, batches, collate_blocks, workers=0, ahead=1),
        "llmkit, spans": batch_loader(spans, batches, collate_blocks, workers=0, ahead=1),
    }
    return {name: partial(_measure, loader, list(batches), size) for name, loader in loaders.items()}


def _measure(loader: DataLoader[Any], batches: Sequence[list[int]], size: int, _: Path) -> Figures:
    return speed(loader, batches, size)


class _First(EpochBatches):
    """The first `number` batches of an epoch, over again if there are too few."""

    def __init__(self, count: int, batch_size: int, number: int) -> None:
        super().__init__(count, batch_size, seed=42)
        whole = [batch for batch in super().__iter__() if len(batch) == batch_size]
        self._chosen = [whole[n % len(whole)] for n in range(number)]

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Any:
        return iter(self._chosen)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--corpus", help="token shards; by default the demo corpus, tokenized now")
    options.add_argument("--runs", type=int, default=5, help="runs per contender")
    options.add_argument("--batches", type=int, default=200, help="batches a run")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    with TemporaryDirectory() as name:
        shards = Path(arguments.corpus) if arguments.corpus else Path(name) / "shards"
        if not arguments.corpus:
            run([*LLMKIT, "tokenize", "-c", "demo", "-o", str(shards), "tokenizer.vocab_size=4000"], Path(name))
        for size in (128, 512):
            compare(
                f"Feeding blocks of {size} tokens, {TOKENS} tokens a batch",
                contenders(shards, Path(name), size, arguments.batches),
                runs=arguments.runs,
                speed="tokens/s of CPU",
            )


if __name__ == "__main__":
    main()
