"""Compare `llmkit finetune` with transformers' `run_qa.py` on SQuAD: same examples, model, batch size and settings.

    python benchmarks/finetune.py --run-qa …/question-answering/run_qa.py --model MODEL --data train-v1.1.json

The folder of run_qa.py must contain its helper files and `squad/`, the metric from huggingface/evaluate.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from side_by_side import LLMKIT, Figures, Measure, compare, parser, run, sample, script
from squad import flat, write

SETTINGS = {"learning_rate": "1e-4", "warmup_steps": "0.1", "per_device_train_batch_size": "16"}


def ours(arguments: argparse.Namespace, train: Path, few: Path) -> Measure:
    def measure(folder: Path) -> Figures:
        command = [*LLMKIT, "finetune", "-r", "squad-minilm", f"model.pretrained={arguments.model}"]
        command += [f"data.train={train}", f"data.validation={few}", f"train.max_steps={arguments.steps}"]
        command += [f"train.logging_steps={arguments.steps}", "train.eval_steps=1000000", "-o", str(folder / "run")]
        command += [f"train.{name}={value}" for name, value in SETTINGS.items()]
        wall = run(command, folder)
        record = json.loads((folder / "run" / "log.jsonl").read_text().splitlines()[0])
        return {
            "examples/s": arguments.steps * 16 / record["seconds"],
            "loss": record["loss"],
            "command, s": wall,
        }

    return measure


def theirs(arguments: argparse.Namespace, train: Path, few: Path, *flags: str, **environment: str) -> Measure:
    def measure(folder: Path) -> Figures:
        command = ["--model_name_or_path", arguments.model, "--train_file", str(train), "--validation_file", str(few)]
        command += ["--do_train", "--do_eval", "--max_steps", str(arguments.steps), "--save_strategy", "no"]
        command += ["--max_seq_length", "384", "--doc_stride", "128", "--output_dir", str(folder / "out"), *flags]
        for name, value in SETTINGS.items():
            command += [f"--{name}", value]
        wall = script(arguments.script, folder, command, HF_HOME=str(folder / "hf"), **environment)
        results = json.loads((folder / "out" / "train_results.json").read_text())
        return {
            "examples/s": results["train_samples_per_second"],
            "loss": results["train_loss"],
            "command, s": wall,
        }

    return measure


def main() -> None:
    options = parser(__doc__, "run_qa.py")
    options.add_argument("--model", required=True, help="a checkpoint folder")
    options.add_argument("--data", type=Path, required=True, help="SQuAD's training set, or a part of it")
    options.add_argument("--steps", type=int, default=30, help="optimizer steps per run")
    options.add_argument(
        "--best",
        default="--pad_to_max_length False --train_sampling_strategy group_by_length",
        help="flags that make run_qa.py faster",
    )
    arguments = options.parse_args()
    arguments.model = str(Path(arguments.model).resolve())
    rows = flat(arguments.data)
    # Exactly one epoch, so that all contenders train on the same examples even if they group them by length.
    train = write(sample(rows, arguments.steps * 16), arguments.work / "train.json")
    few = write(sample(rows, 8), arguments.work / "few.json")
    compare(
        f"Fine-tuning {Path(arguments.model).name} on SQuAD, {arguments.steps} steps of 16, 384/128",
        {
            "llmkit finetune": ours(arguments, train, few),
            "run_qa.py": theirs(arguments, train, few),
            f"run_qa.py {arguments.best}": theirs(arguments, train, few, *arguments.best.split()),
        },
        runs=arguments.runs,
        speed="examples/s",
    )


if __name__ == "__main__":
    main()
