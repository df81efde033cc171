"""What came of a bench: as plain values, and as tables of at most 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from string import ascii_uppercase
from typing import Any

from llmkit.evidence.bench_scores import Found, mean_difference, mean_score
from llmkit.evidence.bench_tasks import IN_MEAN, SUITE
from llmkit.system.console import say, table
from llmkit.tasks.score_tables import interval_text

WIDTH = 100  # characters of a table
GAP = 2  # between its columns
MEAN = "GLUE"  # the name of GLUE's mean among tasks
_LABELS = {entry.name: entry.scores for entry in SUITE}
Column = tuple[str, str, dict[str, tuple[str, str]]]  # task, score, and for each model the score and its interval


def as_json(record: Mapping[str, Any], found: Sequence[Found]) -> dict[str, Any]:
    """The results as plain values, after what the bench is."""
    models = list(record["models"])
    means = {model: mean for model in models if (mean := mean_score(found, model)) is not None}
    gaps = {pair: gap for pair in combinations(models, 2) if (gap := mean_difference(found, *pair)) is not None}
    return {
        **record,
        "examples": {one.entry.name: one.examples for one in found},
        "scores": {
            one.entry.name: {
                model: {name: asdict(score) for name, score in scores.items()} for model, scores in one.scores.items()
            }
            for one in found
        },
        "glue_mean": {
            "of": [one.entry.name for one in found if one.shares],
            "scores": {model: asdict(mean) for model, mean in means.items()},
            "differences": [{"first": a, "second": b, **asdict(gap)} for (a, b), gap in gaps.items()],
        },
        "differences": [
            {
                "first": pair.first,
                "second": pair.second,
                "task": one.entry.name,
                "score": pair.score,
                **asdict(pair.difference),
                "bootstrap_holm": pair.holm[0],
                "randomization_holm": pair.holm[1],
            }
            for one in found
            for pair in one.pairs
        ],
    }


def show(found: Mapping[str, Any], folder: Any) -> None:
    """Print the scores, the differences between models, and what one must know to read them."""
    letters = dict(zip(found["models"], ascii_uppercase, strict=False))
    several = len(found["models"]) > 1
    names = {model: f"{letters[model]}  {name}" if several else name for model, name in found["models"].items()}
    first = "model"
    title = f"{folder}: {found['seeds']} seed{'s' if found['seeds'] > 1 else ''}, in percent, with 95 % intervals"
    for block in _blocks(list(_columns(found)), max(map(len, [first, *names.values()]))):
        rows = [["", *(score for _, score, _ in block)]]
        for model, name in names.items():
            rows.append([name, *(cells[model][0] for *_, cells in block)])
            rows.append(["", *(cells[model][1] for *_, cells in block)])
        table([first, *(task for task, *_ in block)], rows, title=title)
        title = " "
    if several:
        _show_differences(found, letters)
    for note in _notes(found):
        say(note)


def _columns(found: Mapping[str, Any]) -> Iterator[Column]:
    means = found["glue_mean"]["scores"]
    if means:
        yield MEAN, _mean_of(found), {model: _cell(score) for model, score in means.items()}
    for task, by_model in found["scores"].items():
        for name, label in _LABELS[task].items():
            yield task, label, {model: _cell(scores[name]) for model, scores in by_model.items()}


def _mean_of(found: Mapping[str, Any]) -> str:
    return f"mean of {len(found['glue_mean']['of'])}"


def _cell(score: Mapping[str, Any]) -> tuple[str, str]:
    deviation = "" if score["deviation"] is None else f" ± {score['deviation']:.2f}"
    return f"{score['value']:.2f}{deviation}", interval_text(score["interval"])


def _blocks(columns: Sequence[Column], names: int) -> Iterator[list[Column]]:
    """The columns of each table. `names` is the width of the first column, with the models."""
    block: list[Column] = []
    width = names
    for column in columns:
        task, score, cells = column
        wide = GAP + max(map(len, (task, score, *(text for pair in cells.values() for text in pair))))
        if block and width + wide > WIDTH:
            yield block
            block, width = [], names
        block.append(column)
        width += wide
    yield block


def _show_differences(found: Mapping[str, Any], letters: Mapping[str, str]) -> None:
    rows = [_difference(one, one["task"], one["score"], letters, holm="_holm") for one in found["differences"]]
    for one in found["glue_mean"]["differences"]:
        rows.append(_difference(one, MEAN, _mean_of(found), letters, holm=""))
    table(
        ["", "task", "score", ">difference", "95 % interval", ">p, bootstrap", ">p, randomization"],
        rows,
        title=f"\nDifferences; p-values of tasks are corrected for {len(found['differences'])} comparisons, after Holm",
    )


def _difference(one: Mapping[str, Any], task: str, score: str, letters: Mapping[str, str], *, holm: str) -> list[str]:
    p_values = ["" if (p := one[f"{test}{holm}"]) is None else f"{p:.4f}" for test in ("bootstrap", "randomization")]
    pair = f"{letters[one['first']]} − {letters[one['second']]}"
    return [pair, task, score, f"{one['value']:+.2f}", interval_text(one["interval"]), *p_values]


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    if (most := found["first_examples"]) is not None:
        yield f"Quick: the first {most:,} examples of each split. Not comparable with published scores."
    if of := found["glue_mean"]["of"]:
        missing = [task for task in IN_MEAN if task not in of]
        what = f"without {', '.join(missing)}, so not GLUE's mean" if missing else "without WNLI, as usual"
        yield f"{MEAN}: the mean of {len(of)} tasks, {what}. A task with two scores counts with their mean."
    seeds = (
        "± is the standard deviation over seeds"
        if found["seeds"] > 1
        else "what another seed would change, more --seeds show"
    )
    yield f"Intervals are over examples; {seeds}. The validation data also chose each run's best checkpoint."
