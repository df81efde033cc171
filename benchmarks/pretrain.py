"""Compare `llmkit pretrain` with transformers' `run_mlm.py`: same text, shape, vocabulary and tokens per step.

    python benchmarks/pretrain.py --run-mlm …/language-modeling/run_mlm.py --text BOOKS --tokenizer FOLDER

Afterwards, the same code scores both models on the same held-out text with the same masks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from side_by_side import LLMKIT, Figures, Measure, compare, parser, run, script
from transformers import AutoModelForMaskedLM

from llmkit.corpus.masking import Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import TokenShards
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.models.masked_lm import packed
from llmkit.training.batches import MaskedBlocks
from llmkit.training.held_out import HeldOut

SHAPES = {
    "minilm-l6": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-mini": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
HELD_OUT_BLOCKS = 64
SETTINGS = {"learning_rate": "5e-4", "warmup_steps": "0.1", "weight_decay": "0.01"}


def ours(arguments: argparse.Namespace, shards: Path) -> Measure:
    def measure(folder: Path) -> Figures:
        shape = json.dumps({**SHAPES[arguments.shape], **NO_DROPOUT})
        command = [*LLMKIT, "pretrain", "-r", "bert-mini", f"model.config={shape}", f"corpus.path={shards}"]
        command += [f"corpus.block_size={arguments.block_size}", f"train.max_steps={arguments.steps}"]
        command += [f"train.per_device_train_batch_size={arguments.batch_size}", "train.eval_steps=1000000"]
        command += [f"train.logging_steps={arguments.steps}", "-o", str(folder / "run")]
        command += [f"train.{name}={value}" for name, value in SETTINGS.items()]
        wall = run(command, folder)
        record = json.loads((folder / "run" / "log.jsonl").read_text().splitlines()[0])
        return figures(arguments, shards, record["seconds"], folder / "run" / "model", wall)

    return measure


def theirs(arguments: argparse.Namespace, shards: Path, text: Path, *flags: str, **changes: float) -> Measure:
    def measure(folder: Path) -> Figures:
        shape = {**SHAPES[arguments.shape], **changes}
        overrides = ",".join(f"{name}={value}" for name, value in shape.items())
        command = [
            "--model_type",
            "bert",
            "--config_overrides",
            overrides,
            "--tokenizer_name",
            str(shards / "tokenizer"),
        ]
        command += ["--train_file", str(text), "--max_seq_length", str(arguments.block_size), "--do_train"]
        command += ["--max_steps", str(arguments.steps), "--save_strategy", "no", "--output_dir", str(folder / "out")]
        command += ["--per_device_train_batch_size", str(arguments.batch_size), *flags]
        for name, value in SETTINGS.items():
            command += [f"--{name}", value]
        # Without a validation file, the script splits one off the training text.
        command += ["--validation_file", str(text)]
        wall = script(arguments.script, folder, command, HF_HOME=str(folder / "hf"))
        results = json.loads((folder / "out" / "train_results.json").read_text())
        return figures(arguments, shards, results["train_runtime"], folder / "out", wall)

    return measure


def figures(arguments: argparse.Namespace, shards: Path, seconds: float, model: Path, wall: float) -> Figures:
    """The speed and the held-out loss of a trained model."""
    loaded = packed(AutoModelForMaskedLM.from_pretrained(model, dtype=torch.float32), arguments.block_size)
    tokenizer = load_tokenizer(str(shards / "tokenizer"))
    blocks = PackedBlocks(TokenShards(shards, "validation"), arguments.block_size)
    masked = MaskedBlocks(blocks, Vocabulary.of(tokenizer), probability=0.15, masking="tokens", seed=1)
    scores = HeldOut(masked, HELD_OUT_BLOCKS)(loaded, arguments.batch_size, bf16=False).scores
    tokens = arguments.steps * arguments.batch_size * arguments.block_size
    return {"tokens/s": tokens / seconds, "held-out loss": scores["loss"], "command, s": wall}


def main() -> None:
    options = parser(__doc__, "run_mlm.py")
    options.add_argument("--text", type=Path, required=True, help="a folder of .txt files")
    options.add_argument("--tokenizer", required=True, help="tokenizer for both")
    options.add_argument("--shape", choices=SHAPES, default="minilm-l6")
    options.add_argument("--block-size", type=int, default=512)
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--best", default="", help="flags that make run_mlm.py faster, in addition to no dropout")
    arguments = options.parse_args()
    shards = (arguments.work / "shards").resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    source = f"{arguments.text.resolve()},documents=blank_line"
    command = [*LLMKIT, "tokenize", "-c", source, "-o", str(shards)]
    run([*command, f"tokenizer.path={Path(arguments.tokenizer).resolve()}"], arguments.work)
    # run_mlm.py tokenizes all of its text before training, so give it only what it needs.
    needed = (
        6 * arguments.steps * arguments.batch_size * arguments.block_size
    )  # characters: about 4 per token, plus slack
    text = arguments.work / "text.txt"
    with text.open("w", encoding="utf-8") as out:
        for file in sorted(arguments.text.glob("*.txt")):
            if out.tell() < needed:
                out.write(file.read_text(encoding="utf-8"))
    best = f"run_mlm.py {arguments.best}".strip() + ", no dropout"
    compare(
        f"Pretraining, {arguments.shape} shape, {arguments.steps} steps of "
        f"{arguments.batch_size} × {arguments.block_size} tokens",
        {
            "llmkit pretrain": ours(arguments, shards),
            "run_mlm.py": theirs(arguments, shards, text.resolve()),
            best: theirs(arguments, shards, text.resolve(), *arguments.best.split(), **NO_DROPOUT),
        },
        runs=arguments.runs,
        speed="tokens/s",
    )


if __name__ == "__main__":
    main()
