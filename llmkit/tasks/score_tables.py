"""A task's scores as tables on stdout."""

from __future__ import annotations

from typing import Any

from llmkit.system.console import table
from llmkit.tasks.base import Task


def show(task: Task[Any], scores: dict[str, Any], title: str) -> None:
    """Scores as a table on stdout."""

    def interval(name: str) -> str:
        ends = scores.get(f"{name}_interval")
        return f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""

    plain = [name for name, value in scores.items() if isinstance(value, float) and f"{name}_interval" in scores]
    names = dict.fromkeys([*task.headline, *plain])
    rows = [[name, f"{scores[name]:.2f}", interval(name)] for name in names]
    for part in ("HasAns", "NoAns"):
        if f"{part}_f1" in scores:
            count = f"{scores[f'{part}_total']:,} questions"
            rows.append([f"{part} f1", f"{scores[f'{part}_f1']:.2f}", count])
    table(["score", ">percent", "95 % interval"], rows, title=f"{title}, {scores['total']:,} {task.item}s")
    if types := scores.get("per_type"):
        measures = ("f1", "precision", "recall")
        cells = [[name, *(f"{of[m]:.2f}" for m in measures), f"{of['support']:,}"] for name, of in types.items()]
        table(["entity", *(f">{m}" for m in measures), ">entities"], cells)
    if short := scores.get("short_tuned"):
        measures = ("f1", "precision", "recall")
        whole = {name: scores[f"short_{name}"] for name in measures} | {"total": scores["total"]}
        table(
            ["threshold of short answers", *(f">{m}" for m in measures), ">questions"],
            [
                [f"{threshold:.3f}, {where}", *(f"{part[m]:.2f}" for m in measures), f"{part['total']:,}"]
                for threshold, where, part in (
                    (scores["short_threshold"], "best of all for these questions", whole),
                    (short["threshold"], "half it was tuned on", short["tuned_on"]),
                    (short["threshold"], "the other half", short["reported_on"]),
                )
            ],
        )
    if tuned := scores.get("tuned"):
        on, held = tuned["tuned_on"], tuned["reported_on"]
        table(
            ["null threshold", ">f1", ">exact_match", ">questions"],
            [
                ["as predicted", *_row(scores)],
                [f"{tuned['null_threshold']:.3f}, half it was tuned on", *_row(on)],
                [f"{tuned['null_threshold']:.3f}, the other half", *_row(held)],
            ],
        )


def _row(part: dict[str, Any]) -> list[str]:
    return [f"{part['f1']:.2f}", f"{part['exact_match']:.2f}", f"{part['total']:,}"]
