"""Score tables of extractive question answering: questions with and without an answer, and tuned thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.tasks.score_tables import Table


def answerability_rows(scores: Mapping[str, Any]) -> list[list[str]]:
    """F1 on the questions with an answer, and on those without."""
    return [
        [f"{part} f1", f"{scores[f'{part}_f1']:.2f}", f"{scores[f'{part}_total']:,} questions"]
        for part in ("HasAns", "NoAns")
        if f"{part}_f1" in scores
    ]


def threshold_tables(scores: Mapping[str, Any]) -> Iterator[Table]:
    """Scores at tuned thresholds, on the half of the data that they were tuned on and on the other half."""
    if short := scores.get("short_tuned"):
        measures = ("f1", "precision", "recall")
        whole = {name: scores[f"short_{name}"] for name in measures} | {"total": scores["total"]}
        halves: tuple[tuple[str, Mapping[str, Any]], ...] = (
            (f"{scores['short_threshold']:.3f}, the best on these questions", whole),
            (f"{short['threshold']:.3f}, half it was tuned on", short["tuned_on"]),
            (f"{short['threshold']:.3f}, the other half", short["reported_on"]),
        )
        rows = [[name, *(f"{part[m]:.2f}" for m in measures), f"{part['total']:,}"] for name, part in halves]
        yield Table(["short answer threshold", *(f">{m}" for m in measures), ">questions"], rows)
    if tuned := scores.get("tuned"):
        halves = (
            ("as predicted", scores),
            (f"{tuned['null_threshold']:.3f}, half it was tuned on", tuned["tuned_on"]),
            (f"{tuned['null_threshold']:.3f}, the other half", tuned["reported_on"]),
        )
        rows = [[name, f"{p['f1']:.2f}", f"{p['exact_match']:.2f}", f"{p['total']:,}"] for name, p in halves]
        yield Table(["null threshold", ">f1", ">exact_match", ">questions"], rows)
