"""How much each word adds to a number of a model, by two methods that know nothing of each other.

Integrated gradients (Sundararajan et al. 2017) follow the number from the input with every word masked to the input
itself, and share out the difference. Occlusion masks one word at a time. Both are captum's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llmkit.evidence.probe import Probe
from llmkit.evidence.units import Unit
from llmkit.tasks.values import Array

STEPS = (32, 64, 128, 256, 512)
TOLERANCE = 0.01
_PASSES = 4  # memory of a pass with its gradient, in passes without


@dataclass(frozen=True)
class Gradients:
    """Integrated gradients.

    weights  of each unit, in the unit of the number. With those of tokens in no unit, they should add up to the
             number's difference between the input and the masked input
    steps    of the integral
    error    by how much they do not add up, as a share of all absolute weights, or of that difference if it is larger
    """

    weights: Array
    steps: int
    error: float

    @property
    def converged(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= TOLERANCE


def integrated_gradients(probe: Probe, units: Sequence[Unit]) -> Gradients:
    """The weight of each unit, with as many steps as it takes for an error of 1 %, at most 512."""
    from captum.attr import LayerIntegratedGradients

    method = LayerIntegratedGradients(probe, probe.model.get_input_embeddings())
    for steps in STEPS:
        attributions, delta = method.attribute(
            probe.ids,
            probe.masked,
            n_steps=steps,
            internal_batch_size=max(1, probe.rows // _PASSES),
            return_convergence_delta=True,
        )
        # Some models pad their input: what is behind its end is the same in both.
        tokens: Array = attributions.double().sum(dim=-1)[0, : probe.ids.shape[1]].cpu().numpy()
        missing = float(delta)  # what they add up to, minus what they should
        most = max(float(np.abs(tokens).sum()), abs(float(tokens.sum()) - missing))
        found = Gradients(_of_units(tokens, units), steps, abs(missing) / most if most else 0.0)
        if found.converged:
            break
    return found


def occlusion(probe: Probe, units: Sequence[Unit]) -> Array:
    """By how much the number falls if one unit alone is masked, [units]."""
    from captum.attr import FeatureAblation

    numbers = torch.zeros_like(probe.ids)  # 0 for tokens in no unit
    for number, unit in enumerate(units, start=1):
        numbers[0, list(unit.tokens)] = number
    baseline = torch.where(numbers > 0, probe.masked, probe.ids)
    found: Tensor = FeatureAblation(probe).attribute(
        probe.ids, baseline, feature_mask=numbers, perturbations_per_eval=probe.rows
    )
    return np.array([float(found[0, unit.tokens[0]]) for unit in units])


def _of_units(tokens: Array, units: Sequence[Unit]) -> Array:
    return np.array([tokens[list(unit.tokens)].sum() for unit in units])
