"""`llmkit audit`: what could be wrong with a model's score, one part for each doubt."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.evidence.audit.audited import PREDICTIONS, Audited, Result, Wanted
from llmkit.evidence.audit.parts import PARTS, Part
from llmkit.models.checkpoint import Checkpoint
from llmkit.sharing.audit_section import with_audit
from llmkit.system import gpu
from llmkit.system.cache import file_fingerprint
from llmkit.system.console import result, say, table
from llmkit.system.errors import UserError, did_you_mean
from llmkit.system.extras import need
from llmkit.system.files import parse_json, read_text, to_json, write_whole
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import start_group
from llmkit.system.progress import Course
from llmkit.system.run_folder import AUDIT, RunDir
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import examples_fingerprint
from llmkit.tasks.inference import Reader, ready
from llmkit.tasks.purpose import purpose_of
from llmkit.tasks.settings import Settings, settings_of
from llmkit.tasks.values import Prediction

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 1


@dataclass(frozen=True)
class Prepared:
    """A model, checked, and the parts to audit. `subject` is a fine-tuned model with examples, or a masked LM."""

    subject: Audited | Checkpoint
    parts: dict[str, Part]
    wanted: Wanted


def prepare(
    model: str,
    parts: Sequence[str] = (),
    wanted: Wanted | None = None,
    *,
    task: str | None = None,
    data: str | None = None,
    split: str = "validation",
    overrides: Sequence[str] = (),
) -> Prepared:
    """Check a model, its data and the names of the `parts`; none stands for all that there are for such a model.

    Raises UserError; writes only to the cache.
    """
    quiet()
    if unknown := [name for name in parts if name not in PARTS]:
        raise UserError(
            f"no part {unknown[0]!r}{did_you_mean(unknown[0], PARTS)}", remedy=f"parts are {', '.join(PARTS)}"
        )
    pretrained = task is None and purpose_of(model) is None and data is None
    possible = {name: part for name, part in PARTS.items() if (part.of_masked_lm if pretrained else part.of_task)}
    if other := [name for name in parts if name not in possible]:
        raise UserError(
            f"there is no {other[0]} of {model}, which is {'not fine-tuned' if pretrained else 'fine-tuned'}",
            remedy=f"leave out --part {other[0]}",
        )
    chosen = {name: part for name, part in possible.items() if not parts or name in parts}
    for part in chosen.values():
        need(part.extra, part.packages)
    if pretrained:
        say(f"{model} is not fine-tuned: its audit is {', '.join(chosen)} alone")
        return Prepared(Checkpoint.named(model), chosen, wanted or Wanted())
    settings = settings_of(model, task, data, overrides)
    chosen = _fitting(settings.task, chosen, parts)
    examples = load_examples(settings.task, settings.data, [split])[split]
    settings.task.check_scores(examples, settings.data)
    run = settings.checkpoint.run
    stored = run is not None and _has_predictions(run, settings, examples)
    return Prepared(Audited(settings, split, examples, run, stored, _predict(settings)), chosen, wanted or Wanted())


def _fitting(task: Task[Any], chosen: Mapping[str, Part], named: Sequence[str]) -> dict[str, Part]:
    """The parts that are possible for a task; says why others are not. Raises UserError if one of them was named."""
    reasons = {name: reason for name, part in chosen.items() if (reason := part.unfit(task)) is not None}
    for name, reason in reasons.items():
        if name in named:
            raise UserError(reason, remedy=f"leave out --part {name}")
        say(f"no {name}: {reason}")
    return {name: part for name, part in chosen.items() if name not in reasons}


def _has_predictions(run: RunDir, settings: Settings, examples: Dataset) -> bool:
    """Whether the predictions of a run are of these examples, read in this way."""
    if not run.finished or not (run.path / PREDICTIONS).is_file():
        return False
    origin, own = settings.data.origin(), settings.task.data_class(**run.recipe()["data"])
    if own.model_dump(exclude=set(origin)) != settings.data.model_dump(exclude=set(origin)):
        return False
    found: bool = run.environment()["data"].get("validation") == examples_fingerprint(examples)
    return found


def _predict(settings: Settings) -> Callable[[Dataset], list[Prediction]]:
    """A function that runs the model, which is loaded when it is first needed."""

    loaded: list[Reader] = []

    def predict(examples: Dataset) -> list[Prediction]:
        if not loaded:
            loaded.append(_load(settings))
        with Course("predicting", len(examples), f"{settings.task.item}s") as course:
            advance = course.part(len(examples))
            while True:
                try:
                    found = loaded[0](examples, advance)
                except OutOfMemory as error:
                    if not error.smaller:
                        error.remedy = "take a smaller model or more memory"
                        raise
                    loaded[0] = replace(loaded[0], batch_size=error.smaller["per_device_eval_batch_size"])
                    say(f"{error.problems[0]}; going on with {loaded[0].batch_size} at a time")
                else:
                    assert found is not None
                    return found
                gc.collect()  # the frames of the error, which may hold tensors

    return predict


def _load(settings: Settings) -> Reader:
    keep_memory()
    gpu.set_up("auto")
    model, codec = settings.task.load_trained(settings.checkpoint, settings.data)
    bf16 = choose("auto").bf16
    model = ready(model, start_group(), bf16=bf16)
    return Reader(model, settings.task, codec, settings.data, settings.threshold, bf16)


def run(prepared: Prepared) -> dict[str, Result]:
    """Make each part."""
    found = {}
    for name, part in prepared.parts.items():
        if isinstance(prepared.subject, Audited):
            assert part.of_task is not None
            found[name] = part.of_task(prepared.subject, prepared.wanted)
        else:
            assert part.of_masked_lm is not None
            found[name] = part.of_masked_lm(prepared.subject, prepared.wanted)
    return found


def as_json(prepared: Prepared, found: Mapping[str, Result]) -> dict[str, Any]:
    """An audit as plain values: what audit.json holds."""
    subject = prepared.subject
    run = subject.run
    about: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "llmkit": version("llmkit"),
        "scores": file_fingerprint(run.path / "metrics.json") if run is not None and run.finished else None,
        "about": _about(subject) if isinstance(subject, Audited) else "The masked language model",
    }
    if isinstance(subject, Audited):
        about |= {"task": subject.task.name, "fingerprint": examples_fingerprint(subject.examples)}
    return {
        "format": FORMAT,
        "parts": {
            name: {
                **about,
                "title": prepared.parts[name].title,
                "tables": [each.as_row() for each in part.tables()],
                "notes": list(part.notes()),
                "result": part.as_row(),
            }
            for name, part in found.items()
        },
    }


def _about(audited: Audited) -> str:
    """The examples that were audited, in a few words."""
    data = audited.data.model_dump(include=set(audited.data.origin()), exclude_none=True)
    where = data.get("path") or data.get(audited.split) or next(iter(data.values()))
    named = ", ".join([where] if isinstance(where, str) else where)
    return f"{len(audited.examples):,} {audited.task.item}s of {named} ({audited.split})"


def save(model: str, audit: Mapping[str, Any], output: Path | None) -> None:
    """Write parts to audit.json, in place of the same parts of an earlier audit: in a folder, or else in the run.

    In the run, the model card has them too. Without either, nothing is written. Raises UserError.
    """
    run = RunDir(Path(model))
    folder = output or (run.path if run.finished else None)
    if folder is None:
        return
    file = folder / AUDIT
    earlier: Mapping[str, Any] = parse_json(read_text(file), file) if file.is_file() else {"parts": {}}
    if not isinstance(earlier, dict) or not isinstance(earlier.get("parts"), dict):
        raise UserError(f"{file} is not an audit", remedy="move it away, or choose another folder with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, to_json({**audit, "parts": {**earlier["parts"], **audit["parts"]}}))
        card = run.model / "README.md"
        if output is None and card.is_file():
            write_whole(card, with_audit(read_text(card), run))
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}", remedy="choose another folder with -o") from None


def show(prepared: Prepared, found: Mapping[str, Result]) -> None:
    """Print an audit as tables."""
    for name, part in found.items():
        result(f"\n{prepared.parts[name].title}")
        for each in part.tables():
            table(each.columns, each.rows, title=f"\n{each.title}")
        for note in part.notes():
            say(note)
        for line in part.shown():
            result(line)
