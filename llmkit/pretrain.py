"""`llmkit pretrain`: token shards (or text) and a recipe in, a run with a BERT and its perplexity out."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmkit.batching import EpochBatches, MaskedBlocks, collate_blocks
from llmkit.console import count, is_main, result, say
from llmkit.corpus.masking import Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import TokenShards, read_manifest
from llmkit.corpus.vocabulary import load_tokenizer
from llmkit.machine import environment, quiet
from llmkit.models import BertForMaskedLM, describe, model_for_pretraining
from llmkit.pace import Pace
from llmkit.processes import from_first, sharded
from llmkit.recipe import CorpusSection, PretrainRecipe
from llmkit.recipe_reading import dump
from llmkit.rundir import RunDir, check_same_data, open_run, start
from llmkit.tokenize import tokenize
from llmkit.training import Report, Trainer, save_model, training_arguments

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Of these, some 20,000 are masked, whose mean loss is certain to about 0.02: less than it falls between evaluations.
HELD_OUT_TOKENS = 2**17


@dataclass(frozen=True)
class Prepared:
    """Everything a pretraining run needs, checked, before any process group exists."""

    recipe: PretrainRecipe
    run: RunDir
    resume: bool
    corpus: Path
    tokenizer: PreTrainedTokenizerFast
    model: BertForMaskedLM
    train: PackedBlocks
    held_out: PackedBlocks


def prepare(recipe: PretrainRecipe, output: Path | None, *, resume: bool = False) -> Prepared:
    """Tokenize what is not tokenized yet, load and check the rest. Raises UserError; writes only the cache."""
    from transformers import set_seed

    quiet()
    run = open_run(output or Path("runs") / recipe.name, dump(recipe), resume=resume)
    corpus = corpus_folder(recipe.corpus)
    if resume:
        check_same_data(run, data_of(corpus))
    tokenizer = load_tokenizer(str(corpus / "tokenizer"))
    size = recipe.corpus.block_size
    train = PackedBlocks(TokenShards(corpus, "train"), size)
    held_out = PackedBlocks(TokenShards(corpus, "validation"), size)
    set_seed(recipe.train.seed)
    model = model_for_pretraining(recipe.model, tokenizer, size)
    return Prepared(recipe, run, resume, corpus, tokenizer, model, train, held_out)


def introduce(prepared: Prepared) -> None:
    """Say what is about to be trained, on what."""
    train, size = prepared.train, prepared.recipe.corpus.block_size
    say(f"model: {describe(prepared.model)}")
    say(
        f"corpus: {count(train.tokens)} tokens in {len(train):,} blocks of {size}, "
        f"{len(prepared.held_out):,} blocks held out"
    )


def corpus_folder(section: CorpusSection) -> Path:
    """The token shards of a recipe, made now where it names sources."""
    if section.sources is not None:
        return tokenize(section.sources, section.tokenizer, None)
    assert section.path is not None
    read_manifest(Path(section.path))
    return Path(section.path)


def pretrain(prepared: Prepared) -> RunDir:
    """Train, keep the checkpoint with the lowest held-out loss, write the run down."""
    recipe, run = prepared.recipe, prepared.run
    introduce(prepared)
    arguments = training_arguments(recipe.train, run, metric="loss", higher_is_better=False)
    if is_main():
        start(run, dump(recipe), environment(data_of(prepared.corpus)))
    vocabulary = Vocabulary.of(prepared.tokenizer)

    def masked(blocks: PackedBlocks) -> MaskedBlocks:
        return MaskedBlocks(
            blocks,
            vocabulary,
            probability=recipe.corpus.mlm_probability,
            whole_words=recipe.corpus.whole_word_mask,
            seed=recipe.train.seed,
        )

    held_out = masked(prepared.held_out)
    latest: dict[int, dict[str, float]] = {}

    def assess(model: Any) -> dict[str, float]:
        scores = held_out_scores(model, held_out, arguments.per_device_eval_batch_size, bf16=arguments.bf16)
        latest[trainer.state.global_step] = scores
        return scores

    pace = Pace(recipe.train)
    trainer = Trainer(
        prepared.model,
        arguments,
        data=masked(prepared.train),
        batches=EpochBatches(len(prepared.train), arguments.per_device_train_batch_size, recipe.train.seed),
        collate=collate_blocks,
        assess=assess,
        pace=pace,
        report=Report(run, pace, "pretrain"),
        tokenizer=prepared.tokenizer,
    )
    checkpoint = run.last_checkpoint() if prepared.resume else None
    if checkpoint:
        pace.resume(checkpoint)
        say(f"resuming from {checkpoint}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    best = trainer.state.best_global_step
    scores = latest.get(best or -1) or held_out_scores(
        prepared.model, held_out, arguments.per_device_eval_batch_size, bf16=arguments.bf16
    )
    save_model(trainer, run)
    if is_main():
        run.write_json("metrics.json", {**scores, "step": best, "steps": trainer.state.global_step})
    return run


def finish_line(run: RunDir) -> None:
    """The run's perplexity, and what can be done with it."""
    if not is_main():
        return
    scores = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    result(f"{run.path}: held-out perplexity {scores['perplexity']:.2f} at step {scores['step']:,}")
    say(f"fine-tune it: llmkit finetune --task squad model.pretrained={run.path}")


def held_out_scores(model: Any, blocks: MaskedBlocks, batch_size: int, *, bf16: bool) -> dict[str, float]:
    """`loss` (nats a masked token) and `perplexity` of held-out blocks, whose masks are always the same.

    Over all masked tokens alike, and over blocks of at most HELD_OUT_TOKENS tokens, evenly spread.
    """
    most = max(1, HELD_OUT_TOKENS // blocks.block_size)
    numbers = np.unique(np.linspace(0, len(blocks) - 1, min(len(blocks), most)).round().astype(int))
    batches = [numbers[start : start + batch_size] for start in range(0, len(numbers), batch_size)]
    device = model.device
    model.eval()

    def work(batch_numbers: np.ndarray[Any, np.dtype[Any]]) -> tuple[float, int]:
        batch = collate_blocks([blocks[int(number)] for number in batch_numbers])
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            out = model(**{name: tensor.to(device) for name, tensor in batch.items()}, num_items_in_batch=1)
        return float(out.loss), len(batch["labels"])

    results = sharded(batches, work)
    scores = None
    if results is not None:
        loss = math.fsum(total for total, _ in results) / sum(targets for _, targets in results)
        scores = {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
    return from_first(scores)


def data_of(corpus: Path) -> dict[str, Any]:
    """What the corpus is known by."""
    return {"corpus": read_manifest(corpus)["key"]}
