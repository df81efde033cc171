"""From a teacher to a student in 8 bits: size, speed and score on the same examples, in one table.

    python benchmarks/distillation.py --teacher runs/teacher --alone runs/alone --student runs/student

Each is a run of the same task. `--alone` is the student's recipe without a teacher. The models are exported as
`llmkit export --int8` does, which also checks the graphs; the folders are thrown away.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from llmkit.commands.export import Measured, Report, export, prepare

COLUMNS = ("model", "parameters", "MB", "examples/s", "ms for one")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="run of the teacher")
    parser.add_argument("--student", required=True, help="run of the student that learned from it")
    parser.add_argument("--alone", help="run of the same student without a teacher")
    parser.add_argument("--data", help="examples to score and time on; by default the validation data of each run")
    parser.add_argument("--examples", type=int, default=10_000, help="at most so many of them")
    return parser.parse_args(given)


def exported(run: str, options: argparse.Namespace, folder: Path) -> Report:
    """A run as PyTorch, ONNX and int8, measured on the examples."""
    subject = prepare(
        run,
        folder / Path(run).name,
        task=None,
        data=options.data,
        overrides=(),
        split="validation",
        examples=options.examples,
    )
    return export(subject, folder / Path(run).name, int8=True)


def rows(options: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
    """The rows of the table, from the teacher to the student in int8."""
    wanted = {
        "teacher": (options.teacher, ("PyTorch", "ONNX, int8")),
        "student alone": (options.alone, ("PyTorch",)),
        "student": (options.student, ("PyTorch", "ONNX", "ONNX, int8")),
    }
    for role, (run, forms) in wanted.items():
        if run is None:
            continue
        report = exported(run, options, folder)
        size = sum(weight.numel() for weight in report.subject.model.parameters())
        for measured in report.models:
            if measured.name in forms:
                yield [f"{role}, {measured.name}", f"{size / 1e6:.1f} M", *figures(measured, report)]


def figures(measured: Measured, report: Report) -> list[str]:
    """Size, speed and the headline scores."""
    scores = [f"{measured.scores[name]:.2f}" for name in report.subject.settings.task.headline]
    speed = [f"{measured.examples_per_second:.1f}", f"{measured.milliseconds:.1f}"]
    return [f"{measured.megabytes:.1f}", *speed, *scores]


def main() -> None:
    """Measure, and print the table."""
    options = arguments()
    with TemporaryDirectory() as folder:
        found = list(rows(options, Path(folder)))
    from llmkit.tasks.settings import settings_of

    names = (*COLUMNS, *settings_of(options.student, None, options.data).task.headline)
    lines = [names, ["---"] * len(names), *found]
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))
    sys.stdout.write(f"\n{torch.get_num_threads()} CPU threads\n")


if __name__ == "__main__":
    main()
