"""Checkpoints are sealed: complete, and verifiable.

checkpoints/checkpoint-STEP/
  …            as transformers' Trainer writes it: weights, optimizer, scheduler, random state
  whole.json   the seal, written last, after all files are synced: {"seconds": of training so far, "evaluation_due":
               whether the run was stopped before this step's evaluation finished, "processes": that wrote it,
               "stable": whether the learning rate was past its warm-up and had not decayed,
               "best": the name of the best checkpoint until then, or null,
               "files": {name: SHA-256}}
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import write_whole

SEAL = "whole.json"


def seal(
    checkpoint: Path,
    seconds: float,
    *,
    evaluation_due: bool = False,
    processes: int = 1,
    stable: bool = False,
    best: Path | None = None,
) -> None:
    """Sync a checkpoint's files to disk, then write their hashes into its seal. `best` is the best so far."""
    files = {}
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
            files[file.relative_to(checkpoint).as_posix()] = hashlib.file_digest(handle, "sha256").hexdigest()
    content = {
        "seconds": seconds,
        "evaluation_due": evaluation_due,
        "processes": processes,
        "stable": stable,
        "best": best.name if best else None,
        "files": files,
    }
    write_whole(checkpoint / SEAL, json.dumps(content, indent=1))


def seconds_of(checkpoint: Path) -> float:
    """Seconds of training up to a sealed checkpoint."""
    return float(json.loads((checkpoint / SEAL).read_text())["seconds"])


def evaluation_due(checkpoint: Path) -> bool:
    """Whether the evaluation of a sealed checkpoint's step is still due."""
    return bool(json.loads((checkpoint / SEAL).read_text()).get("evaluation_due", False))


def processes_of(checkpoint: Path) -> int | None:
    """The number of processes that wrote a sealed checkpoint. None if an older llmkit did, which does not say."""
    number: int | None = json.loads((checkpoint / SEAL).read_text()).get("processes")
    return number


def is_stable(checkpoint: Path) -> bool | None:
    """Whether the learning rate was constant at a sealed checkpoint: a longer run would have the same one.

    None if its seal is damaged, or if an older llmkit wrote it, which does not say.
    """
    stable: bool | None = _content(checkpoint).get("stable")
    return stable


def last_stable(folder: Path) -> Path | None:
    """The last sealed checkpoint at which the learning rate was constant, or None if there is none."""
    return next((checkpoint for checkpoint in reversed(sealed(folder)) if is_stable(checkpoint)), None)


def newest(folder: Path) -> Path | None:
    """The newest intact checkpoint, or None if there is none.

    Unsealed checkpoints are ignored. Damaged ones cause a warning and a fallback to the one before. Raises UserError
    if all sealed checkpoints are damaged.
    """
    damaged = []
    for checkpoint in reversed(sealed(folder)):
        if not (found := damage(checkpoint)):
            return checkpoint
        damaged.append(f"{checkpoint} is damaged: {found}")
        warn(damaged[-1])
    if damaged:
        raise UserError(*damaged, remedy="restore one of them from a backup, or start again in another folder with -o")
    return None


def prune(folder: Path, keep: int, best: Path | None) -> None:
    """Remove unsealed checkpoints, and all but `keep` sealed ones.

    The newest and the best always stay. So do the last stable one and the best at its time: what a longer run needs.
    """
    found = sealed(folder)
    stable = last_stable(folder)
    wanted = [best.name if best else None]
    if stable:
        wanted += [stable.name, _content(stable).get("best")]
    kept = set(found[-1:]) | {checkpoint for checkpoint in found if checkpoint.name in wanted}
    for checkpoint in reversed(found):
        if len(kept) < keep:
            kept.add(checkpoint)
    for checkpoint in folder.glob("checkpoint-*"):
        if checkpoint not in kept:
            # Remove the seal first: if we are killed here, nothing must look complete.
            (checkpoint / SEAL).unlink(missing_ok=True)
            shutil.rmtree(checkpoint)


def sealed(folder: Path) -> list[Path]:
    """Sealed checkpoints, newest last."""
    found = [file.parent for file in folder.glob(f"checkpoint-*/{SEAL}")]
    return sorted(found, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]))


def damage(checkpoint: Path) -> str:
    """What has changed in a checkpoint since it was sealed; empty if it is intact."""
    try:
        files: dict[str, str] = json.loads((checkpoint / SEAL).read_text())["files"]
        float(json.loads((checkpoint / SEAL).read_text())["seconds"])
        for name, expected in files.items():
            with (checkpoint / name).open("rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != expected:
                    return f"{name} does not match its hash"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return str(error)
    return ""


def _content(checkpoint: Path) -> dict[str, Any]:
    """What a seal says; nothing if it is damaged."""
    try:
        content = json.loads((checkpoint / SEAL).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
