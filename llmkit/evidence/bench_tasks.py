"""The tasks that a checkpoint is usually judged by: GLUE, SQuAD and CoNLL-2003, with the recipes and the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks import task_named


@dataclass(frozen=True)
class Entry:
    """A task of the suite.

    name     in tables, and the name of its folders
    task     llmkit's name of it
    scores   the official scores, name in `Task.measures` → name in the table
    recipe   the shipped recipe that it is trained by
    in_mean  the scores whose mean is the task's share of GLUE's mean; empty outside it
    """

    name: str
    task: str
    scores: dict[str, str]
    recipe: str
    in_mean: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """The score by which models are compared: the one that selects the best checkpoint."""
        return task_named(self.task).metric


_ACCURACY = {"accuracy": "accuracy"}
_BOTH = {"accuracy": "accuracy", "f1": "F1"}
_ANSWERS = {"exact_match": "exact", "f1": "F1"}
_CORRELATIONS = {"pearson": "Pearson", "spearmanr": "Spearman"}
_MATCHED = {"accuracy": "matched", "accuracy_mismatched": "mismatched"}
_COMBINED = ("combined_score",)  # the mean of both scores, of the same examples


def _glue(name: str, scores: dict[str, str], in_mean: tuple[str, ...], recipe: str = "glue-bert-base") -> Entry:
    return Entry(name, f"glue/{name}", scores, recipe, in_mean)


# In GLUE's mean a task with two scores counts with their mean, and so does MNLI with both its parts.
SUITE = (
    _glue("cola", {"matthews_correlation": "Matthews"}, ("matthews_correlation",)),
    _glue("sst2", _ACCURACY, ("accuracy",)),
    _glue("mrpc", _BOTH, _COMBINED, "glue-small-bert-base"),
    _glue("stsb", _CORRELATIONS, _COMBINED),
    _glue("qqp", _BOTH, _COMBINED),
    _glue("mnli", _MATCHED, ("accuracy", "accuracy_mismatched")),
    _glue("qnli", _ACCURACY, ("accuracy",)),
    _glue("rte", _ACCURACY, ("accuracy",)),
    _glue("wnli", _ACCURACY, (), "glue-small-bert-base"),
    Entry("squad", "squad", _ANSWERS, "squad-bert-base"),
    Entry("squad_v2", "squad_v2", _ANSWERS, "squad-v2-bert-base"),
    Entry("conll2003", "ner", {"f1": "F1"}, "ner-bert-base"),
)
IN_MEAN = tuple(entry.name for entry in SUITE if entry.in_mean)


def chosen(names: Sequence[str] | None) -> list[Entry]:
    """The tasks of these names, in the order of the suite; all of them if None.

    llmkit's names (`glue/sst2`, `ner`) are known too. Raises UserError with all unknown names.
    """
    if names is None:
        return list(SUITE)
    known = {name: entry for entry in SUITE for name in (entry.task, entry.name)}
    unknown = [f"unknown task {name!r}{did_you_mean(name, known)}" for name in names if name not in known]
    if unknown or not names:
        raise UserError(
            *(unknown or ["no task is named"]), remedy=f"name some of {','.join(entry.name for entry in SUITE)}"
        )
    wanted = {known[name].name for name in names}
    return [entry for entry in SUITE if entry.name in wanted]
