"""Shared code of the benchmarks of pretraining: their corpus, runs that are never repeated, and one score for all."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from side_by_side import LLMKIT, Figures, run

from llmkit.corpus.shards import read_manifest
from llmkit.recipes.pretraining import ModelSection, PretrainRecipe, TrainSection
from llmkit.recipes.reading import dump, read_recipe
from llmkit.system.cores import cores
from llmkit.system.errors import UserError
from llmkit.system.files import to_json, write_whole

MASKED = 0.15  # the fraction of tokens to predict in the score


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks of pretraining share."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--text", type=Path, nargs="+", default=[], help="folders of .txt files to train on")
    options.add_argument("--shards", type=Path, help="token shards of this text, where `llmkit tokenize` has made them")
    options.add_argument("--tokenizer", help="tokenizer for the text; by default, a vocabulary is trained on it")
    options.add_argument("--vocab-size", type=int, default=8000, help="of the vocabulary to train")
    options.add_argument(
        "--held-out", type=Path, required=True, help="text to score on: a folder of .txt files, or its token shards"
    )
    options.add_argument("--block-size", type=int, default=128, help="of the held-out blocks")
    options.add_argument(
        "--cpu",
        action="store_true",
        help="budgets are CPU time and become numbers of steps: the same on a machine that does other work too",
    )
    common(options)
    return options


def common(options: argparse.ArgumentParser) -> None:
    """Add the options of all benchmarks that train several times."""
    options.add_argument("--seeds", type=numbers, default=[1], help="seeds, such as 1,2,3")
    options.add_argument("--threads", type=int, default=cores().threads, help="threads of a run")
    options.add_argument(
        "--work", type=Path, default=Path("benchmarks/work"), help="folder for runs; a finished one is not repeated"
    )


def numbers(text: str) -> list[int]:
    """Parse `1,2,3`."""
    return [int(part) for part in text.split(",")]


def corpus(arguments: argparse.Namespace) -> Path:
    """Token shards with the text to train on and, as their validation split, the text to score on."""
    folder: Path = arguments.work.resolve() / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"text": arguments.text, "shards": [arguments.shards], "held-out": [arguments.held_out]}
    made_of = {name: [str(path.resolve()) for path in found if path] for name, found in paths.items()}
    made_of["tokenizer"] = [str(arguments.tokenizer or arguments.vocab_size)]
    record = folder / "made-of.json"
    if record.is_file() and json.loads(record.read_text()) != made_of:
        sys.exit(f"{folder} was made of {record.read_text()}\nChoose another folder with --work.")
    if not (folder / "manifest.json").is_file():
        if not (arguments.text or arguments.shards):
            sys.exit("Give the text to train on: --text FOLDER, or --shards FOLDER.")
        given = f"tokenizer.path={Path(arguments.tokenizer).resolve()}" if arguments.tokenizer else None
        shards = arguments.shards or tokenized(
            arguments.text, folder / "text", given or f"tokenizer.vocab_size={arguments.vocab_size}"
        )
        held_out = arguments.held_out
        if not (held_out / "manifest.json").is_file():
            same = f"tokenizer.path={(shards / 'tokenizer').resolve()}"
            held_out = tokenized([held_out], folder / "held-out", same)
        join(shards, held_out, folder)
    write_whole(record, to_json(made_of))
    return folder


def tokenized(texts: Sequence[Path], folder: Path, override: str) -> Path:
    """Token shards of folders of .txt files, each file a document."""
    if not (folder / "manifest.json").is_file():
        folder.mkdir(exist_ok=True)
        sources = [part for text in texts for part in ("-c", f"{text.resolve()},documents=file")]
        run([*LLMKIT, "tokenize", *sources, "-o", str(folder), override], folder.parent)
    return folder


def join(shards: Path, held_out: Path, folder: Path) -> None:
    """Make token shards of links: the training split of `shards`, and all of `held_out` to evaluate on."""
    files = [path / "tokenizer" / "tokenizer.json" for path in (shards, held_out)]
    if files[0].read_bytes() != files[1].read_bytes():
        sys.exit(f"{held_out} and {shards} have different tokenizers: tokenize both with the same.")
    train, other = read_manifest(shards), read_manifest(held_out)
    validation = [*other["splits"]["train"], *other["splits"]["validation"]]
    splits = {
        "train": [link(shards / shard["file"], folder, "train", shard, 0) for shard in train["splits"]["train"]],
        "validation": [
            link(held_out / shard["file"], folder, "held-out", shard, len(train["sources"])) for shard in validation
        ],
    }
    link(shards / "tokenizer", folder, "", {}, 0)
    totals = {
        split: {key: sum(shard[key] for shard in found) for key in ("documents", "tokens")}
        for split, found in splits.items()
    }
    key = {**train["key"], "sources": [*train["key"]["sources"], *other["key"]["sources"]]}
    manifest = {**train, "key": key, "sources": [*train["sources"], *other["sources"]]}
    write_whole(folder / "manifest.json", to_json({**manifest, "totals": totals, "splits": splits}))


def link(path: Path, folder: Path, prefix: str, shard: dict[str, Any], first: int) -> dict[str, Any]:
    """Link a file into the folder, and describe it in a manifest whose sources begin at `first`."""
    name = f"{prefix}-{path.name}".lstrip("-")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(path.resolve())
    return {**shard, "file": name, "source": shard.get("source", 0) + first}


def read(recipe: str, overrides: Sequence[str]) -> PretrainRecipe:
    """A pretraining recipe with overrides. Exits if there is none."""
    try:
        return read_recipe(PretrainRecipe, recipe, overrides)
    except UserError as error:
        sys.exit(f"{error}")


def pretrained(recipe: str, overrides: Sequence[str], arguments: argparse.Namespace) -> Path:
    """The folder of a finished pretraining run. Another content of the recipe makes another run."""
    command = ["pretrain", "-r", recipe, *overrides]
    return finished(command, dump(read(recipe, overrides)), Path(recipe).stem, arguments)


def finished(command: Sequence[str], inputs: str, label: str, arguments: argparse.Namespace) -> Path:
    """The folder of a finished run of llmkit: run now, resumed where it was killed, or found.

    Its name is the label and a digest of the command and of its inputs. Exits if the run fails.
    """
    folder = arguments.work.resolve() / "runs" / f"{label}-{digest(*command, inputs)}"
    run_folder = folder / "run"
    if not (run_folder / "metrics.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        more = ["--resume"] if (run_folder / "recipe.yaml").is_file() else []
        run([*LLMKIT, *command, *more, "-o", str(run_folder)], folder, OMP_NUM_THREADS=str(arguments.threads))
    return run_folder


def digest(*parts: str) -> str:
    """A short name for these texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def recipe_named(text: str) -> str:
    """A recipe's name, or the whole path of its file: runs start in folders of their own."""
    return str(Path(text).resolve()) if Path(text).is_file() else text


def seconds(text: str) -> float:
    """Parse `300s`, `20m` or `1h30m`."""
    found = TrainSection.model_validate({"time_budget": text}).time_budget
    assert found is not None
    return found


def figures_of(run_folder: Path, shards: Path, arguments: argparse.Namespace) -> Figures:
    """The held-out loss of a finished run, its parameters, and the steps and tokens that it trained for."""
    log = log_of(run_folder)
    return {**held_out(run_folder / "model", shards, arguments), "steps": log[-1]["step"], "tokens": tokens_of(log)}


def log_of(run_folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl."""
    return [json.loads(line) for line in (run_folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def tokens_of(log: list[dict[str, Any]]) -> float:
    """The tokens that a run has trained on, from the speed in each line of its log, which counts no evaluations."""
    tokens = began = 0.0
    for record in log:
        tokens += record.get("tokens_per_second", 0.0) * (record["seconds"] - began)
        began = record["seconds"]
    return tokens


def held_out(model: Path, shards: Path, arguments: argparse.Namespace) -> Figures:
    """The held-out loss of a trained model, in nats per masked token, and its number of parameters.

    Blocks and masks are those of every other model, and of evaluations within a run whose recipe evaluates in blocks of
    `--block-size` with MASKED of the tokens masked. What was found is kept beside the model.
    """
    record = model.parent / f"held-out-{digest(str(shards), str(arguments.block_size))}.json"
    if not record.is_file():
        write_whole(record, to_json(_held_out(model, shards, arguments)))
    found: Figures = json.loads(record.read_text())
    return found


def _held_out(model: Path, shards: Path, arguments: argparse.Namespace) -> Figures:
    import torch

    from llmkit.corpus.masking import Vocabulary
    from llmkit.corpus.packing import PackedBlocks
    from llmkit.corpus.shards import TokenShards
    from llmkit.corpus.tokenizer import load_tokenizer
    from llmkit.models.masked_lm import model_for_pretraining
    from llmkit.system.machine import quiet
    from llmkit.training.batches import MaskedBlocks
    from llmkit.training.held_out import MASK_SEED, HeldOut

    quiet()
    torch.set_num_threads(arguments.threads)
    tokenizer = load_tokenizer(str(shards / "tokenizer"))
    loaded = model_for_pretraining(ModelSection(pretrained=str(model)), tokenizer, arguments.block_size)
    blocks = PackedBlocks(TokenShards(shards, "validation"), arguments.block_size)
    masked = MaskedBlocks(blocks, Vocabulary.of(tokenizer), probability=MASKED, masking="tokens", seed=MASK_SEED)
    scores = HeldOut(masked)(loaded, None, bf16=False).scores
    return {"loss": scores["loss"], "parameters": sum(weights.numel() for weights in loaded.parameters())}
