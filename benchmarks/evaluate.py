"""Compare `llmkit eval` with transformers' `run_qa.py --do_eval` on SQuAD: same model, questions and windows.

    python benchmarks/evaluate.py --run-qa …/question-answering/run_qa.py --model MODEL --data dev-v1.1.json

Startup time is subtracted: each command runs with all questions and with eight, and the difference is reported.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from side_by_side import LLMKIT, Figures, Measure, compare, parser, run, script
from squad import flat, write


def ours(arguments: argparse.Namespace, all_rows: Path, few: Path) -> Measure:
    def measure(folder: Path) -> Figures:
        seconds = []
        for number, file in enumerate((few, all_rows)):
            command = [*LLMKIT, "eval", arguments.model, "--task", "squad", "--data", str(file), "--json"]
            scores = folder / f"{number}.json"
            seconds.append(run(command, folder, output=scores, LLMKIT_CACHE=str(folder / "cache")))
        found = json.loads(scores.read_text())
        return {
            "questions/s": arguments.questions / (seconds[1] - seconds[0]),
            "f1": found["f1"],
            "command, s": seconds[1],
        }

    return measure


def theirs(arguments: argparse.Namespace, all_rows: Path, few: Path, *flags: str) -> Measure:
    def measure(folder: Path) -> Figures:
        seconds = []
        for number, file in enumerate((few, all_rows)):
            command = ["--model_name_or_path", arguments.model, "--validation_file", str(file), "--do_eval", *flags]
            command += ["--max_seq_length", "384", "--doc_stride", "128", "--output_dir", str(folder / f"out{number}")]
            seconds.append(script(arguments.script, folder, command, HF_HOME=str(folder / "hf")))
        found = json.loads((folder / "out1" / "eval_results.json").read_text())
        return {
            "questions/s": arguments.questions / (seconds[1] - seconds[0]),
            "f1": found["eval_f1"],
            "command, s": seconds[1],
        }

    return measure


def main() -> None:
    options = parser(__doc__, "run_qa.py")
    options.add_argument("--model", required=True, help="a question-answering checkpoint")
    options.add_argument(
        "--data", type=Path, required=True, help="SQuAD's validation set, or a file in the same format"
    )
    options.add_argument("--questions", type=int, default=1000)
    options.add_argument(
        "--best",
        default="--pad_to_max_length False --per_device_eval_batch_size 32",
        help="flags that make run_qa.py faster",
    )
    arguments = options.parse_args()
    arguments.model = str(Path(arguments.model).resolve())
    rows = flat(arguments.data)
    # Consecutive questions: as in the full set, several are on the same paragraph.
    all_rows = write(rows[: arguments.questions], arguments.work / "questions.json")
    few = write(rows[:8], arguments.work / "few.json")
    compare(
        f"Evaluating {Path(arguments.model).name} on {arguments.questions:,} questions, 384/128",
        {
            "llmkit eval": ours(arguments, all_rows, few),
            "run_qa.py --do_eval": theirs(arguments, all_rows, few),
            f"run_qa.py --do_eval {arguments.best}": theirs(arguments, all_rows, few, *arguments.best.split()),
        },
        runs=arguments.runs,
        speed="questions/s",
    )


if __name__ == "__main__":
    main()
