"""`llmkit pretrain`: token shards (or text) and a recipe in, a run with an encoder and its perplexity out."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from llmkit.commands.job import Job, open_job
from llmkit.commands.tokenize import prepare as prepare_corpus
from llmkit.commands.tokenize import tokenize
from llmkit.corpus.masking import Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import TokenShards, read_manifest
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.models.capabilities import fit_inputs
from llmkit.models.masked_lm import model_for_pretraining
from llmkit.models.packing_trial import choose_attention
from llmkit.recipes.corpus import CorpusSection
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.system.console import count, is_main, result, say
from llmkit.system.machine import choose
from llmkit.system.run_folder import RunDir
from llmkit.training.batches import MaskedBlocks, collate_blocks
from llmkit.training.held_out import HeldOut
from llmkit.training.resuming import check_same_data


def prepare(
    recipe: PretrainRecipe,
    output: Path | None,
    *,
    resume: bool = False,
    auto_batch: bool = False,
    processes: int | None = None,
) -> Job:
    """Tokenize the corpus if needed, then load and check the rest. Raises UserError; writes only to the cache.

    `processes` will train; by default, those of this launch.
    """
    import torch
    from transformers import set_seed

    run, recipe, resume = open_job(recipe, output, resume=resume, auto_batch=auto_batch, processes=processes)
    corpus = corpus_folder(recipe.corpus)
    manifest = read_manifest(corpus)
    fingerprints = {"corpus": manifest["key"]}
    if resume:
        check_same_data(run, fingerprints)
    tokenizer = load_tokenizer(str(corpus / "tokenizer"))
    vocabulary = Vocabulary.of(tokenizer)
    if recipe.corpus.whole_word_mask:
        vocabulary.check_whole_words(str(corpus))
    size = recipe.corpus.block_size
    train, held_out = (PackedBlocks(TokenShards(corpus, split), size) for split in ("train", "validation"))
    set_seed(recipe.train.seed)
    model = model_for_pretraining(recipe.model, tokenizer, size)
    fit_inputs(tokenizer, model.base_model)
    choose_attention(model, bf16=choose(recipe.train.bf16).bf16)

    def masked(blocks: PackedBlocks) -> MaskedBlocks:
        return MaskedBlocks(
            blocks,
            vocabulary,
            probability=recipe.corpus.mlm_probability,
            whole_words=recipe.corpus.whole_word_mask,
            seed=recipe.train.seed,
        )

    def introduce() -> None:
        blocks = f"{len(train):,} blocks of {size}, {len(held_out):,} blocks held out"
        say(f"corpus: {count(train.tokens)} tokens in {blocks}")

    return Job(
        command="pretrain",
        recipe=recipe,
        run=run,
        resume=resume,
        auto_batch=auto_batch,
        model=model,
        tokenizer=tokenizer,
        data=masked(train),
        lengths=np.full(len(train), size),
        collate=partial(collate_blocks, few_shapes=recipe.train.torch_compile or torch.cuda.is_available()),
        evaluation=HeldOut(masked(held_out)),
        fingerprints=fingerprints,
        sizes=manifest["totals"],
        introduce=introduce,
        finish=lambda best, state: {**best.scores, "step": state.best_global_step, "steps": state.global_step},
    )


def corpus_folder(section: CorpusSection) -> Path:
    """The token shards of a recipe, tokenized now if it names sources."""
    if section.sources is not None:
        prepared = prepare_corpus(section.sources, section.tokenizer, None)
        if section.whole_word_mask and prepared.tokenizer is not None:
            Vocabulary.of(prepared.tokenizer).check_whole_words(str(section.tokenizer.path))
        return tokenize(prepared)
    assert section.path is not None
    return Path(section.path)


def finish_line(run: RunDir) -> None:
    """Print the run's perplexity and what to do next."""
    if not is_main():
        return
    scores = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    result(f"{run.path}: held-out perplexity {scores['perplexity']:.2f} at step {scores['step']:,}")
    say(f"fine-tune it: llmkit finetune --task squad model.pretrained={run.path}")
