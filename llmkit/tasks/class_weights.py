"""Weights of classes in the loss: rare labels or tags count more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.console import say
from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.label.labels import canonical_label, first_few

BALANCED = "balanced"


def _by_class(value: Any) -> Any:
    """Weights by the text of their class, which YAML may read as a number or as true. One message for the rest."""
    if value is None or value == BALANCED:
        return value
    if not isinstance(value, Mapping) or not value or not all(map(_is_weight, value.values())):
        raise ValueError(f"should be balanced, or a positive number for each class: {{spam: 5}}, got {value!r}")
    return {canonical_label(str(name)): float(weight) for name, weight in value.items()}


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


ClassWeights = Annotated[Literal["balanced"] | dict[str, float] | None, BeforeValidator(_by_class)]


class ClassTrainSection(TrainSection):
    """How to train a model that chooses among classes."""

    class_weights: ClassWeights = Field(
        None,
        description="How much each label or tag counts in the loss. `balanced`: examples / (labels × examples of the "
        "label), as in scikit-learn, so that all labels count the same in sum. Or weights by name, `{spam: 5}`; the "
        "others have 1. For tags, a type of entity stands for all its tags: `{PER: 2, O: 0.5}`. (llmkit only.)",
    )


def weights_of(
    given: Literal["balanced"] | Mapping[str, float],
    labels: Sequence[str],
    counts: Counter[str],
    groups: Mapping[str, Sequence[str]],
) -> tuple[float, ...]:
    """The weight of each of the `labels`, in order, which is also said. `counts` are of the training examples.

    A name in `given` is a label, or else one of the `groups` of labels. Raises UserError for names that are neither.
    """
    if isinstance(given, str):
        total, present = counts.total(), sum(counts[label] > 0 for label in labels)
        found = {label: total / (present * counts[label]) for label in labels if counts[label]}
    else:
        known = [*labels, *groups]
        if unknown := [name for name in given if name not in known]:
            named = ", ".join(f"{name!r}{did_you_mean(name, known)}" for name in unknown)
            raise UserError(f"train.class_weights: no such label: {named}", remedy=f"labels are {first_few(known)}")
        found = {label: given[group] for group in groups if group in given for label in groups[group]}
        found |= {label: given[label] for label in labels if label in given}
    weights = tuple(found.get(label, 1.0) for label in labels)
    say(f"class weights: {first_few([f'{label} {weight:.3g}' for label, weight in zip(labels, weights, strict=True)])}")
    return weights
