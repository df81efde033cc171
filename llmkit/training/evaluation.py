"""Evaluation during training: what every evaluation looks like, and the memory of the best step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from transformers import PreTrainedModel

from llmkit.tasks.values import Prediction


@dataclass(frozen=True)
class Scored:
    """The scores of a model, the same on every process, and its predictions, on the first process only."""

    scores: dict[str, Any]
    predictions: Sequence[Prediction] = ()


class Evaluation(Protocol):
    """Scores models on held-out data."""

    @property
    def metric(self) -> str:
        """The score that decides which step is best."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher `metric` is better."""
        ...

    @property
    def headline(self) -> Sequence[str]:
        """The scores to log and to print."""
        ...

    @property
    def max_rows(self) -> int:
        """The most rows of a batch, if no `batch_size` is given."""
        ...

    def __call__(self, model: PreTrainedModel, batch_size: int | None, *, bf16: bool) -> Scored:
        """Score a model."""
        ...

    def seconds(self, model: PreTrainedModel, batch_size: int | None, *, bf16: bool) -> float:
        """Estimate how long a call takes, from a small part of the data."""
        ...


class BestStep:
    """Evaluates a model in training and keeps the result of the best step, so that nothing is evaluated twice."""

    def __init__(self, evaluation: Evaluation, batch_size: int | None, *, bf16: bool) -> None:
        self._evaluation, self._batch_size, self._bf16 = evaluation, batch_size, bf16
        self._step: int | None = None
        self._scored = Scored({})

    def evaluate(self, step: int, model: PreTrainedModel) -> dict[str, float]:
        """Score the model of a step. Returns the headline scores. Step 0 is no candidate: it has no checkpoint."""
        scored = self._score(model)
        if step and (self._step is None or self._is_better(scored)):
            self._step, self._scored = step, scored
        return {name: scored.scores[name] for name in self._evaluation.headline}

    def result(self, step: int | None, model: PreTrainedModel) -> Scored:
        """The result of the best step, whose model this is.

        The model is scored again if its step was evaluated before a resume. Steps are compared, not scores: two steps
        may have the same score and different predictions.
        """
        return self._scored if step is not None and step == self._step else self._score(model)

    def seconds(self, model: PreTrainedModel) -> float:
        """Estimate how long an evaluation takes."""
        return self._evaluation.seconds(model, self._batch_size, bf16=self._bf16)

    def _score(self, model: PreTrainedModel) -> Scored:
        return self._evaluation(model, self._batch_size, bf16=self._bf16)

    def _is_better(self, scored: Scored) -> bool:
        new, best = (found.scores[self._evaluation.metric] for found in (scored, self._scored))
        return bool(new > best if self._evaluation.higher_is_better else new < best)


def seconds_of(call: Callable[[], object]) -> float:
    """Time the second of two calls; the first one warms up."""
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
