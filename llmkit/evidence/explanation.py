"""An explanation of one prediction: the weight of each word by two methods, how far they agree, and what deletion says
of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.evidence.attribution import Gradients, integrated_gradients, occlusion
from llmkit.evidence.deletion import ORDERS, Deletion, deletion
from llmkit.evidence.probe import Probe
from llmkit.evidence.units import Unit, units_of
from llmkit.system.errors import UserError
from llmkit.tasks.explained import Explained
from llmkit.tasks.label.metrics import number_metrics
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.tasks.head import Head

GRADIENTS, OCCLUSION = "integrated_gradients", "occlusion"
METHODS = {GRADIENTS: "integrated gradients", OCCLUSION: "occlusion"}
TOP = 5  # words that are compared


@dataclass(frozen=True)
class Explanation:
    """`value` is the explained number, and `masked` what it is with every word masked. `mask` is the token for that."""

    explained: Explained
    units: tuple[Unit, ...]
    value: float
    masked: float
    mask: str
    gradients: Gradients
    occlusion: Array
    deletion: Deletion

    @property
    def weights(self) -> Mapping[str, Array]:
        """The weight of each unit by each method."""
        return {GRADIENTS: self.gradients.weights, OCCLUSION: self.occlusion}

    def text_of(self, unit: Unit) -> str:
        """A unit as it stands in its text."""
        return self.explained.texts[unit.text][1][unit.start : unit.end]

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of both methods over the units; 0 if one gives all of them the same weight."""
        return number_metrics(self.gradients.weights, self.occlusion)["spearmanr"]

    @property
    def shared(self) -> tuple[int, int]:
        """How many of the units that one method ranks highest are also those of the other, and how many these are."""
        top = min(TOP, len(self.units))
        first, second = (set(np.argsort(-each, kind="stable")[:top].tolist()) for each in self.weights.values())
        return len(first & second), top

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        shared, top = self.shared
        return {
            "answer": self.explained.answer,
            "explained": self.explained.what,
            "value": self.value,
            "value_all_masked": self.masked,
            "mask": self.mask,
            "texts": dict(self.explained.texts),
            "words": [
                {
                    "word": self.text_of(unit),
                    "text": self.explained.texts[unit.text][0],
                    "start": unit.start,
                    "end": unit.end,
                    "answer": unit.own,
                    **{name: float(weights[number]) for name, weights in self.weights.items()},
                }
                for number, unit in enumerate(self.units)
            ],
            "steps": self.gradients.steps,
            "completeness_error": self.gradients.error,
            "rank_correlation": self.correlation,
            "top_words": top,
            "top_words_shared": shared,
            "deletion": self.deletion.as_row(),
        }


def explain(
    model: PreTrainedModel,
    head: Head,
    explained: Explained,
    tokenizer: PreTrainedTokenizerFast,
    *,
    orders: int = ORDERS,
) -> Explanation:
    """Explain a number of a model in evaluation mode, in float32. Raises UserError if its input has no word."""
    probe, units = _probed(model, head, explained, tokenizer)
    value, masked = probe.values([probe.ids, probe.masked]).tolist()
    gradients, occluded = integrated_gradients(probe, units), occlusion(probe, units)
    weights = {GRADIENTS: gradients.weights, OCCLUSION: occluded}
    return Explanation(
        explained,
        units,
        value,
        masked,
        str(tokenizer.convert_ids_to_tokens(probe.mask)),
        gradients,
        occluded,
        deletion(probe, units, weights, orders=orders),
    )


def gradients_of(
    model: PreTrainedModel, head: Head, explained: Explained, tokenizer: PreTrainedTokenizerFast
) -> tuple[tuple[Unit, ...], Gradients]:
    """The words of an explanation and their integrated gradients alone, which takes a fraction of the time."""
    probe, units = _probed(model, head, explained, tokenizer)
    return units, integrated_gradients(probe, units)


def _probed(
    model: PreTrainedModel, head: Head, explained: Explained, tokenizer: PreTrainedTokenizerFast
) -> tuple[Probe, tuple[Unit, ...]]:
    units = tuple(units_of(explained))
    if not units:
        raise UserError("there is no word to explain by", remedy="give a text with words")
    return Probe(model, head, explained, tokenizer), units
