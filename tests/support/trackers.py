"""Read what trackers hold of a run, through what each library offers for it: (step, name, value) as in log.jsonl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmkit.system.run_folder import RunDir
from support.wandb_files import history, merged, records

Piece = tuple[int, str, float]


def pieces(run: RunDir) -> list[Piece]:
    """The numbers of log.jsonl."""
    return [(row["step"], name, float(row[name])) for row in run.log_rows() for name in row if name != "step"]


def kept(run: RunDir, library: str) -> dict[str, Any]:
    """What the run keeps to find itself again in a tracker."""
    return dict(json.loads((run.path / "trackers" / f"{library}.json").read_text()))


def in_tensorboard(run: RunDir) -> list[Piece]:
    events = _events(run)
    return [
        (event.step, _name(tag), event.value)
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
        if not tag.startswith("final/")
    ]


def in_wandb(run: RunDir) -> list[Piece]:
    return in_wandb_file(wandb_file(run))


def in_wandb_file(file: Path) -> list[Piece]:
    return [piece for row in history(file) for piece in _of_row(row)]


def in_mlflow(run: RunDir) -> list[Piece]:
    found = []
    for name, values in _mlflow_history(run).items():
        found += [(value.step, name, value.value) for value in values if not name.startswith("final/")]
    return found


def in_trackio(run: RunDir) -> list[Piece]:
    return [piece for row in _trackio_rows(run) for piece in _of_row(row)]


READERS: dict[str, Callable[[RunDir], list[Piece]]] = {
    "tensorboard": in_tensorboard,
    "wandb": in_wandb,
    "mlflow": in_mlflow,
    "trackio": in_trackio,
}


def final_scores(library: str, run: RunDir) -> dict[str, float]:
    """The final scores, without their prefix."""
    if library == "tensorboard":
        events = _events(run)
        found = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    elif library == "wandb":
        found = merged(wandb_file(run), "summary")
    elif library == "mlflow":
        found = {name: values[-1].value for name, values in _mlflow_history(run).items()}
    else:
        found = {name: value for row in _trackio_rows(run) for name, value in row.items()}
    return {name.removeprefix("final/"): value for name, value in found.items() if name.startswith("final/")}


def configuration(library: str, run: RunDir) -> dict[str, Any]:
    """The recipe and the model's configuration."""
    if library == "tensorboard":
        events = _events(run)
        texts = [
            events.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0] for tag in ("args", "model_config")
        ]
        return {name: value for text in texts for name, value in json.loads(text).items()}
    if library == "wandb":
        return merged(wandb_file(run), "config")
    if library == "mlflow":
        from mlflow import MlflowClient

        return dict(MlflowClient().get_run(kept(run, library)["id"]).data.params)
    from trackio.sqlite_storage import SQLiteStorage

    return next(iter(SQLiteStorage.get_all_run_configs("llmkit").values()))


def wandb_file(run: RunDir) -> Path:
    """The only file that is left of a run's sessions."""
    (found,) = wandb_files(run)
    return found


def wandb_files(run: RunDir) -> list[Path]:
    """The files of a run's sessions, once the process that writes them is done."""
    files = sorted((run.path / "trackers" / "wandb").glob("offline-run-*/*.wandb"))
    deadline = time.monotonic() + 20
    while not all(any(record.HasField("exit") for record in records(file)) for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return files


def _name(shown: str) -> str:
    """The name in log.jsonl of one with the slashes that callbacks put in."""
    kind, _, name = shown.partition("/")
    return {"train": name, "eval": f"eval_{name}"}.get(kind, shown)


def _of_row(row: dict[str, Any]) -> list[Piece]:
    """The pieces of a row that carries its step."""
    if "train/global_step" not in row:
        return []
    at = int(row["train/global_step"])
    names = [name for name in row if name.startswith(("train/", "eval/")) and name != "train/global_step"]
    return [(at, _name(name), float(row[name])) for name in names]


def _events(run: RunDir) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "trackers" / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return events


def _mlflow_history(run: RunDir) -> dict[str, list[Any]]:
    from mlflow import MlflowClient

    client, number = MlflowClient(), kept(run, "mlflow")["id"]
    return {name: client.get_metric_history(number, name) for name in client.get_run(number).data.metrics}


def _trackio_rows(run: RunDir) -> list[dict[str, Any]]:
    from trackio.sqlite_storage import SQLiteStorage

    return list(SQLiteStorage.get_logs("llmkit", kept(run, "trackio")["name"]))
