"""`llmkit pretrain`: token shards (or text) and a recipe in, a run with a masked LM and its perplexity out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llmkit.commands.also_evaluate import Found, check_tokenizers, find, tokenized
from llmkit.commands.job import Job, open_job
from llmkit.commands.tokenize import prepare as prepare_corpus
from llmkit.commands.tokenize import tokenize
from llmkit.corpus.masking import Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import TokenShards, read_manifest
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.models.capabilities import fit_inputs
from llmkit.models.checkpoint import Checkpoint, with_own_dropout
from llmkit.models.continuing import to_continue
from llmkit.models.cpu_attention import train_by_products
from llmkit.models.masked_lm import model_for_pretraining
from llmkit.models.packing_trial import choose_attention
from llmkit.models.teacher import lessons_of, teacher_of
from llmkit.models.vocabulary import check_same_tokens, check_vocabulary
from llmkit.recipes.corpus import CorpusSection
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.system.console import count, is_main, result, say, warn
from llmkit.system.machine import choose
from llmkit.system.run_folder import RunDir
from llmkit.tasks.inference import model_fingerprint
from llmkit.tasks.values import Codec
from llmkit.training.batches import MaskedBlocks, collate_blocks
from llmkit.training.held_out import MASK_SEED, HeldOut
from llmkit.training.resuming import check_same_data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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
    found, size = find(recipe.corpus), recipe.corpus.block_size
    fits = partial(
        check_tokenizer, recipe.corpus, found, to_continue(recipe.model, size), teacher_of(recipe.model, size)
    )
    corpus = corpus_folder(recipe.corpus, fits)
    manifest = read_manifest(corpus)
    tokenizer = load_tokenizer(str(corpus / "tokenizer"))
    vocabulary = Vocabulary.of(tokenizer)
    train, held_out = (PackedBlocks(TokenShards(corpus, split), size) for split in ("train", "validation"))
    others = tokenized(found, corpus, size)
    fingerprints = {"corpus": manifest["key"]}
    if others:
        fingerprints["also_evaluate"] = {name: other.key for name, other in others.items()}
    bf16 = choose(recipe.train.bf16).bf16
    lessons = lessons_of(recipe.model, tokenizer, size, bf16=bf16)
    if lessons is not None:
        fingerprints["teacher"] = model_fingerprint(lessons.teacher, Codec(tokenizer))
    if resume:
        check_same_data(run, fingerprints)
    set_seed(recipe.train.seed)
    section, fraction = recipe.corpus, recipe.corpus.eval_mlm_probability
    older = fraction is None  # a run that an older llmkit started, see training/resuming.py
    origin = with_own_dropout(recipe.model) if older else recipe.model
    model = model_for_pretraining(origin, tokenizer, size)
    fit_inputs(tokenizer, model.base_model)
    choose_attention(model, bf16=bf16)
    train_by_products(model, bf16=bf16)
    if lessons is not None:
        lessons.give(model)

    masked = partial(MaskedBlocks, vocabulary=vocabulary)
    trained = partial(masked, probability=section.probabilities, masking=section.masking, seed=recipe.train.seed)
    evaluated = trained if older else partial(masked, probability=fraction, masking="tokens", seed=MASK_SEED)

    def introduce() -> None:
        blocks = f"{len(train):,} blocks of {size}, {len(held_out):,} blocks held out"
        say(f"corpus: {count(train.tokens)} tokens in {blocks}")
        if lessons is not None:
            say(f"teacher: {lessons}")
        for name, other in others.items():
            say(f"also evaluated: {name}, {count(other.blocks.tokens)} tokens in {len(other.blocks):,} blocks")

    return Job(
        command="pretrain",
        recipe=recipe,
        run=run,
        resume=resume,
        auto_batch=auto_batch,
        model=model,
        tokenizer=tokenizer,
        data=trained(train),
        lengths=np.full(len(train), size),
        collate=partial(collate_blocks, few_shapes=recipe.train.torch_compile or torch.cuda.is_available()),
        evaluation=HeldOut(
            evaluated(held_out), others={name: evaluated(other.blocks) for name, other in others.items()}
        ),
        fingerprints=fingerprints,
        sizes=manifest["totals"],
        introduce=introduce,
        evaluate_first=recipe.model.pretrained is not None,  # what continuing changes is what its scores are about
        finish=lambda best, state: {**best.scores, "step": state.best_global_step, "steps": state.global_step},
    )


def corpus_folder(section: CorpusSection, fits: Callable[[PreTrainedTokenizerFast, str], None]) -> Path:
    """The token shards of a recipe, whose tokenizer `fits`; tokenized now if it names sources."""
    if section.sources is not None:
        prepared = prepare_corpus(section.sources, section.tokenizer, None)
        if prepared.tokenizer is not None:
            fits(prepared.tokenizer, str(section.tokenizer.path))
            return tokenize(prepared)
        corpus = tokenize(prepared)
    else:
        assert section.path is not None
        corpus = Path(section.path)
        read_manifest(corpus)  # it says so if there are no token shards
    fits(load_tokenizer(str(corpus / "tokenizer")), str(corpus))
    return corpus


def check_tokenizer(
    section: CorpusSection,
    others: Found,
    checkpoint: Checkpoint | None,
    teacher: Checkpoint | None,
    tokenizer: PreTrainedTokenizerFast,
    name: str,
) -> None:
    """Raises UserError if the tokenizer `name` does not fit the masks, the other corpora, the start or the teacher."""
    check_tokenizers(others, tokenizer)
    Vocabulary.of(tokenizer).check(section.masking, name)
    if checkpoint is not None:
        check_vocabulary(tokenizer, checkpoint.config.vocab_size, checkpoint.name, may_grow=True)
        check_same_tokens(tokenizer, checkpoint)
    if teacher is not None:
        check_vocabulary(tokenizer, teacher.config.vocab_size, teacher.name, may_grow=False)
        check_same_tokens(tokenizer, teacher)


def finish_line(run: RunDir) -> None:
    """Print the run's perplexities, with those of a checkpoint that it continued, and what to do next."""
    if not is_main():
        return
    scores = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    start = run.scores_of_start()

    def told(name: str) -> str:
        return f"{scores[name]:.2f}" + (f" (was {start[name]:.2f})" if name in start else "")

    own = f"{run.path}: held-out perplexity {told('perplexity')} at step {scores['step']:,}"
    others = [name for name in scores if name.endswith("_perplexity")]
    result("; ".join([own, *(f"{name.removesuffix('_perplexity')} {told(name)}" for name in others)]))
    if scores["loss"] > start.get("loss", math.inf):
        warn("the held-out loss never fell below that of the start: lower train.learning_rate, or train for longer")
    say(f"fine-tune it: llmkit finetune --task squad model.pretrained={run.path}")
