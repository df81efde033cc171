"""GLUE's mean and the differences of a bench."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

from llmkit.evidence.bench_scores import Found, Share, mean_difference, mean_score, score, with_holm
from llmkit.evidence.bench_tasks import IN_MEAN, SUITE, chosen
from llmkit.evidence.paired import holm
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.columns import Columns
from llmkit.tasks.values import Prediction

COUNT = 60
LABELS = {
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
    "mrpc": ("not_equivalent", "equivalent"),
}


def found(name: str, share_right: dict[str, Sequence[float]], count: int = COUNT, seed: int = 0) -> Found:
    """What came of a task: each run of a model has the share of its answers right that is given, by chance."""
    (entry,) = chosen([name])
    generator = np.random.default_rng([seed, *name.encode()])
    ids = [str(n) for n in range(count)]
    gold = generator.integers(2, size=count)
    names = LABELS[name]
    predictions = {}
    for model, shares in share_right.items():
        right = [generator.random(count) < share for share in shares]
        predictions[model] = [
            [Prediction(i, names[g if r else 1 - g], 1.0) for i, g, r in zip(ids, gold, run, strict=True)]
            for run in right
        ]
    task: Any = TASKS[entry.task]
    examples = Columns({"id": ids, "label": [names[g] for g in gold]})
    return score(entry, task, predictions, examples, task.data_class(path="x"))


def test_official_scores_of_every_task() -> None:
    for entry in SUITE:
        assert entry.metric in TASKS[entry.task].headline
        recipe = read_recipe(FinetuneRecipe, entry.recipe, [f"task={entry.task}"], tasks=TASKS)
        assert recipe.data.path == TASKS[entry.task].hub_id
    assert IN_MEAN == ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")


def test_the_weights_of_the_leaderboard() -> None:
    """BERT-large's columns (the submission of Devlin et al. 2019) and its 80.5, which counts WNLI too: a task with two
    scores counts with their mean, and so does MNLI with its two parts."""
    columns = {
        "cola": [60.5], "sst2": [94.9], "mrpc": [89.3, 85.4], "stsb": [87.6, 86.5], "qqp": [72.1, 89.3],
        "mnli": [86.7, 85.9], "qnli": [92.7], "rte": [70.1], "wnli": [65.1],
    }  # fmt: skip
    shares = {name: fmean(scores) for name, scores in columns.items()}
    assert round(fmean(shares.values()), 1) == 80.5
    all_found = [
        Found(entry, 1, {}, [], {"bert": Share(shares[entry.name], [shares[entry.name]], None)}, {})
        for entry in SUITE
        if entry.in_mean
    ]
    mean = mean_score(all_found, "bert")
    assert mean is not None
    assert mean.value == pytest.approx(fmean(shares[name] for name in IN_MEAN))
    assert (mean.interval, mean.deviation) == (None, None)


def test_the_mean_and_its_deviation_over_seeds() -> None:
    tasks = [found(name, {"bert": [0.7, 0.8, 0.9]}) for name in LABELS]
    mean = mean_score(tasks, "bert")
    assert mean is not None
    assert mean.value == pytest.approx(fmean(task.shares["bert"].value for task in tasks))
    assert mean.runs == pytest.approx([fmean(task.shares["bert"].runs[n] for task in tasks) for n in range(3)])
    assert mean.deviation == pytest.approx(stdev(mean.runs))
    mrpc = tasks[2]
    assert mrpc.shares["bert"].value == pytest.approx(
        (mrpc.scores["bert"]["accuracy"].value + mrpc.scores["bert"]["f1"].value) / 2
    )


def test_tasks_are_resampled_independently() -> None:
    """Else their scores would go up and down together, and the mean would vary as much as a task."""
    tasks = [found(name, {"bert": [0.8]}, 300) for name in ("sst2", "cola", "mrpc")]
    drawn = [task.shares["bert"].drawn for task in tasks]
    together = np.corrcoef(np.array(drawn))
    assert np.abs(together[np.triu_indices(3, 1)]).max() < 0.12
    mean = mean_score(tasks, "bert")
    assert mean is not None
    assert mean.interval is not None
    expected = np.sqrt(sum(np.var(one) for one in drawn)) / 3  # type: ignore[misc]
    assert mean.interval[1] - mean.interval[0] == pytest.approx(2 * 1.96 * expected, rel=0.1)


def test_differences_are_paired_and_corrected_over_tasks() -> None:
    shares = {"cola": 0.95, "sst2": 0.8}
    tasks = [found(name, {"bert": [0.8], "other": [share]}) for name, share in shares.items()]
    pairs = [pair for task in with_holm(tasks) for pair in task.pairs]
    bootstrap, randomization = (
        [getattr(pair.difference, test) for pair in pairs] for test in ("bootstrap", "randomization")
    )
    assert [pair.holm for pair in pairs] == list(zip(holm(bootstrap), holm(randomization), strict=True))
    assert pairs[0].holm[0] == pytest.approx(2 * bootstrap[0])

    gap = mean_difference(tasks, "bert", "other")
    assert gap is not None
    first, second = (mean_score(tasks, model) for model in ("bert", "other"))
    assert first is not None
    assert second is not None
    assert gap.value == pytest.approx(first.value - second.value)
    same = mean_difference([found("cola", {"bert": [1.0], "other": [1.0]})], "bert", "other")
    assert same is not None
    assert (same.value, same.interval, same.bootstrap) == (0, [0, 0], 1), "both models are right on the same examples"


def test_names() -> None:
    assert [entry.name for entry in chosen(["squad", "glue/cola", "ner", "cola"])] == ["cola", "squad", "conll2003"]
    with pytest.raises(UserError, match="no task"):
        chosen([])
