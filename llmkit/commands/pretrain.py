"""`llmkit pretrain`: token shards (or text) and a recipe in, a run with a BERT and its perplexity out."""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmkit.commands.tokenize import prepare as prepare_corpus
from llmkit.commands.tokenize import tokenize
from llmkit.corpus.masking import Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import TokenShards, read_manifest
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.models.checkpoint import describe
from llmkit.models.masked_lm import BertForMaskedLM, model_for_pretraining
from llmkit.models.packed_attention import choose_attention
from llmkit.recipes.pretraining import CorpusSection, PretrainRecipe
from llmkit.recipes.reading import dump
from llmkit.sharing.model_card import write_card
from llmkit.system.console import count, is_main, result, say
from llmkit.system.machine import choose, environment, quiet
from llmkit.system.out_of_memory import evaluating
from llmkit.system.processes import from_first, sharded
from llmkit.system.run_folder import RunDir, hold, open_run, start
from llmkit.training.arguments import training_arguments
from llmkit.training.auto_batch import fitted, pieces_of, smaller_next_time
from llmkit.training.batches import EpochBatches, MaskedBlocks, collate_blocks
from llmkit.training.estimate import estimate
from llmkit.training.estimate import show as show_estimate
from llmkit.training.reporting import Report
from llmkit.training.resuming import check_same_data, check_same_recipe
from llmkit.training.schedule import Pace
from llmkit.training.trainer import Trainer, save_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Of these, some 20,000 are masked, whose mean loss is certain to about 0.02: less than it falls between evaluations.
HELD_OUT_TOKENS = 2**17
TRIED_BLOCKS = 64  # of them, in a dry run


@dataclass(frozen=True)
class Prepared:
    """Everything a pretraining run needs, checked, before any process group exists."""

    recipe: PretrainRecipe
    run: RunDir
    resume: bool
    auto_batch: bool
    corpus: Path
    tokenizer: PreTrainedTokenizerFast
    model: BertForMaskedLM
    train: PackedBlocks
    held_out: PackedBlocks


def prepare(recipe: PretrainRecipe, output: Path | None, *, resume: bool = False, auto_batch: bool = False) -> Prepared:
    """Tokenize what is not tokenized yet, load and check the rest. Raises UserError; writes only the cache."""
    from transformers import set_seed

    quiet()
    run = open_run(output or Path("runs") / recipe.name, resume=resume)
    if resume:
        recipe = check_same_recipe(run, recipe)
    corpus = corpus_folder(recipe.corpus)
    if resume:
        check_same_data(run, data_of(corpus))
    tokenizer = load_tokenizer(str(corpus / "tokenizer"))
    size = recipe.corpus.block_size
    train = PackedBlocks(TokenShards(corpus, "train"), size)
    held_out = PackedBlocks(TokenShards(corpus, "validation"), size)
    set_seed(recipe.train.seed)
    model = model_for_pretraining(recipe.model, tokenizer, size)
    return Prepared(recipe, run, resume, auto_batch, corpus, tokenizer, model, train, held_out)


def introduce(prepared: Prepared) -> None:
    """Say what is about to be trained, on what."""
    train, size = prepared.train, prepared.recipe.corpus.block_size
    say(f"computing on {choose(prepared.recipe.train.bf16).why}")
    say(f"model: {describe(prepared.model)}")
    say(
        f"corpus: {count(train.tokens)} tokens in {len(train):,} blocks of {size}, "
        f"{len(prepared.held_out):,} blocks held out"
    )


def corpus_folder(section: CorpusSection) -> Path:
    """The token shards of a recipe, made now where it names sources."""
    if section.sources is not None:
        return tokenize(prepare_corpus(section.sources, section.tokenizer, None))
    assert section.path is not None
    read_manifest(Path(section.path))
    return Path(section.path)


def pretrain(prepared: Prepared) -> RunDir:
    """Train, keep the checkpoint with the lowest held-out loss, write the run down."""
    run = prepared.run
    with hold(run):
        introduce(prepared)
        if prepared.auto_batch:
            prepared = fitted_to_memory(prepared)
        trainer, held_out = trainer_for(prepared, run)
        if is_main():
            start(run, dump(prepared.recipe), environment(data_of(prepared.corpus), sizes_of(prepared.corpus)))
        with smaller_next_time(run, prepared.recipe) if prepared.auto_batch else nullcontext():
            noted = pieces_of(prepared.recipe) if prepared.auto_batch else {}
            trainer.go(run, resume=prepared.resume, noted=noted)
        # The best checkpoint's weights are loaded; they were scored before, unless that was before a resume.
        best = trainer.state.best_global_step
        scores = held_out.latest.get(best or -1) or held_out(prepared.model)
        save_model(trainer, run)
        if is_main():
            ended = {**scores, "step": best, "steps": trainer.state.global_step}
            write_card(run, ended)
            run.write_json("metrics.json", ended)
    return run


def fitted_to_memory(prepared: Prepared) -> Prepared:
    """The same run, in pieces that fit into memory."""
    trial = replace(prepared, model=deepcopy(prepared.model))
    blocks = range(len(prepared.train))
    return replace(prepared, recipe=fitted(prepared.recipe, lambda run: trainer_for(trial, run)[0], blocks))


def trainer_for(prepared: Prepared, run: RunDir) -> tuple[Trainer, HeldOut]:
    """The trainer and its evaluation. With several processes this starts their group."""
    recipe = prepared.recipe
    arguments = training_arguments(recipe.train, run, metric="loss", higher_is_better=False)
    choose_attention(prepared.model, bf16=arguments.bf16)
    vocabulary = Vocabulary.of(prepared.tokenizer)
    train, held_out = (
        MaskedBlocks(
            blocks,
            vocabulary,
            probability=recipe.corpus.mlm_probability,
            whole_words=recipe.corpus.whole_word_mask,
            seed=recipe.train.seed,
        )
        for blocks in (prepared.train, prepared.held_out)
    )
    evaluation = HeldOut(held_out, arguments.per_device_eval_batch_size, bf16=arguments.bf16)
    pace = Pace(recipe.train)
    trainer = Trainer(
        prepared.model,
        arguments,
        data=train,
        batches=EpochBatches(len(train), arguments.per_device_train_batch_size, recipe.train.seed),
        collate=collate_blocks,
        assess=lambda model: evaluation.at(trainer.state.global_step, model),
        pace=pace,
        report=Report(run, pace, "pretrain", prepared.model, arguments),
        keep=recipe.train.save_total_limit,
        tokenizer=prepared.tokenizer,
    )
    return trainer, evaluation


def dry_run(prepared: Prepared) -> None:
    """Say what the run would be, and what it would take: a few of its steps are tried."""
    introduce(prepared)
    if prepared.auto_batch:
        prepared = fitted_to_memory(prepared)
    size = prepared.recipe.corpus.block_size
    with TemporaryDirectory() as folder:
        trainer, held_out = trainer_for(prepared, RunDir(Path(folder)))

        def tried(model: PreTrainedModel) -> float:
            few = held_out.few(TRIED_BLOCKS)
            few(model)  # the first time is slower than all others
            began = time.perf_counter()
            few(model)
            return (time.perf_counter() - began) * len(held_out) / len(few)

        lengths = np.full(len(prepared.train), size)
        show_estimate(estimate(trainer, prepared.recipe.train, lengths, tried))


def finish_line(run: RunDir) -> None:
    """The run's perplexity, and what can be done with it."""
    if not is_main():
        return
    scores = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    result(f"{run.path}: held-out perplexity {scores['perplexity']:.2f} at step {scores['step']:,}")
    say(f"fine-tune it: llmkit finetune --task squad model.pretrained={run.path}")


class HeldOut:
    """`loss` (nats a masked token) and `perplexity` of models on held-out blocks, whose masks are always the same.

    Over all masked tokens alike, and over blocks of at most HELD_OUT_TOKENS tokens, evenly spread.
    """

    def __init__(self, blocks: MaskedBlocks, batch_size: int, *, bf16: bool, most: int | None = None) -> None:
        self._blocks, self._batch_size, self._bf16 = blocks, batch_size, bf16
        most = most or max(1, HELD_OUT_TOKENS // blocks.block_size)
        self._numbers = np.unique(np.linspace(0, len(blocks) - 1, min(len(blocks), most)).round().astype(int))
        self.latest: dict[int, dict[str, float]] = {}

    def __len__(self) -> int:
        """Blocks that are looked at."""
        return len(self._numbers)

    def few(self, most: int) -> HeldOut:
        """The same over fewer blocks."""
        return HeldOut(self._blocks, self._batch_size, bf16=self._bf16, most=most)

    def at(self, step: int, model: Any) -> dict[str, float]:
        """The scores of a model, which are remembered as those of a step."""
        self.latest[step] = self(model)
        return self.latest[step]

    def __call__(self, model: Any) -> dict[str, float]:
        """The scores of a model."""
        starts = range(0, len(self._numbers), self._batch_size)
        batches = [self._numbers[start : start + self._batch_size] for start in starts]
        device = model.device
        model.eval()

        def work(numbers: np.ndarray[Any, np.dtype[Any]]) -> tuple[float, int]:
            batch = collate_blocks([self._blocks[int(number)] for number in numbers])
            with (
                evaluating(*batch["input_ids"].shape),
                torch.inference_mode(),
                torch.autocast(device.type, torch.bfloat16, enabled=self._bf16),
            ):
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


def sizes_of(corpus: Path) -> dict[str, dict[str, int]]:
    """How much text it holds."""
    totals: dict[str, dict[str, int]] = read_manifest(corpus)["totals"]
    return totals
