"""Compare `llmkit tokenize` with the preprocessing of transformers' `run_mlm.py` and with the tokenizers library alone.

    python benchmarks/tokenize_text.py --run-mlm …/language-modeling/run_mlm.py --text BOOKS --tokenizer FOLDER

Startup time is subtracted: each command runs with all of the text and with one page, and the difference is reported.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import psutil
from side_by_side import LLMKIT, Figures, Measure, compare, parser, run, script

ALONE = """
import sys
from pathlib import Path
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_truncation()
tokenizer.no_padding()
texts = [file.read_text(encoding="utf-8") for file in sorted(Path(sys.argv[2]).glob("*.txt"))]
tokenizer.encode_batch_fast(texts)
"""


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.glob("*.txt")) / 1e6


def ours(arguments: argparse.Namespace, page: Path) -> Measure:
    def measure(folder: Path) -> Figures:
        seconds = []
        for number, text in enumerate((page, arguments.text)):
            command = [*LLMKIT, "tokenize", "-c", str(text), f"tokenizer.path={arguments.tokenizer}"]
            seconds.append(run([*command, "-o", str(folder / f"shards{number}")], folder))
        return {"MB/s": megabytes(arguments.text) / (seconds[1] - seconds[0]), "command, s": seconds[1]}

    return measure


def theirs(arguments: argparse.Namespace, page: Path, *flags: str) -> Measure:
    def measure(folder: Path) -> Figures:
        seconds = []
        for number, text in enumerate((page, arguments.text)):
            # The script reads a single file. Without --do_train it only preprocesses.
            file = folder / f"text{number}.txt"
            with file.open("wb") as out:
                for part in sorted(text.glob("*.txt")):
                    out.write(part.read_bytes())
            command = ["--model_type", "bert", "--tokenizer_name", arguments.tokenizer, "--max_seq_length", "128"]
            command += ["--train_file", str(file), "--validation_file", str(page / "page.txt"), *flags]
            command += ["--output_dir", str(folder / "out"), "--config_overrides", "num_hidden_layers=1,hidden_size=24"]
            seconds.append(script(arguments.script, folder, command, HF_HOME=str(folder / "hf")))
        return {"MB/s": megabytes(arguments.text) / (seconds[1] - seconds[0]), "command, s": seconds[1]}

    return measure


def alone(arguments: argparse.Namespace, page: Path) -> Measure:
    def measure(folder: Path) -> Figures:
        tokenizer = str(Path(arguments.tokenizer) / "tokenizer.json")
        seconds = [run([sys.executable, "-c", ALONE, tokenizer, str(t)], folder) for t in (page, arguments.text)]
        return {"MB/s": megabytes(arguments.text) / (seconds[1] - seconds[0]), "command, s": seconds[1]}

    return measure


def main() -> None:
    options = parser(__doc__, "run_mlm.py")
    options.add_argument("--text", type=Path, required=True, help="a folder of .txt files")
    options.add_argument("--tokenizer", required=True, help="a folder with tokenizer.json")
    options.add_argument("--megabytes", type=float, default=20, help="MB of text to use")
    arguments = options.parse_args()
    arguments.tokenizer = str(Path(arguments.tokenizer).resolve())
    some, page = (arguments.work / "some").resolve(), (arguments.work / "page").resolve()
    for folder in (some, page):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
    for file in sorted(arguments.text.glob("*.txt")):
        if megabytes(some) < arguments.megabytes:
            (some / file.name).symlink_to(file.resolve())
    arguments.text = some
    (page / "page.txt").write_text(sorted(some.glob("*.txt"))[0].read_text(encoding="utf-8")[:20_000])
    workers = f"--preprocessing_num_workers {psutil.cpu_count() or os.cpu_count()}"
    compare(
        f"{megabytes(some):.0f} MB of text to blocks",
        {
            "llmkit tokenize": ours(arguments, page),
            "run_mlm.py": theirs(arguments, page),
            f"run_mlm.py {workers}": theirs(arguments, page, *workers.split()),
            "encode_batch_fast alone": alone(arguments, page),
        },
        runs=arguments.runs,
        speed="MB/s",
    )


if __name__ == "__main__":
    main()
