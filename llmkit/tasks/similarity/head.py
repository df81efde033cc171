"""The head of sentence models, which is none: an encoder, its pooling, and a loss on vectors of whole batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, PreTrainedModel

from llmkit.models.collator import Batch
from llmkit.models.pooling import pooled, states_of
from llmkit.models.sentence_settings import POOLING, Pooling
from llmkit.system.extras import need
from llmkit.tasks.head import Head, Rows, mean_per_target
from llmkit.tasks.values import Codec


def _rows(rows: Rows) -> Rows:
    """The texts of a batch: all first ones, then all second ones, then the negatives, if there are any."""
    found = []
    for place in range(len(rows[0]["lengths"])):
        for row in rows:
            one = {name: row[name][place] for name in ("input_ids", "token_type_ids")}
            found.append({**one, "length": row["lengths"][place]})
    return found


def _targets(rows: Rows, length: int, codec: Codec) -> Batch:
    return {"labels": torch.tensor([row["label"] for row in rows])}


def _outputs(model: PreTrainedModel, batch: Batch) -> Batch:
    return {"vector": pooled(states_of(model, batch), batch["attention_mask"], pooling_of(model))}


def pooling_of(model: PreTrainedModel) -> Pooling:
    """How a model of this kind pools."""
    found: Pooling = getattr(model.config, POOLING, "mean")
    return found


def _no_loss(*_: Any, **__: Any) -> Tensor:
    raise NotImplementedError  # it depends on the data: see Similarity.loss


class VectorLoss:
    """A loss of sentence-transformers on the vectors of a batch.

    It is a mean over the pairs of a micro-batch, which count in the step by their number. CoSENT's is not: it compares
    all pairs of pairs, and the step's is the mean of its micro-batches'. In both, a pair is compared with the others of
    its micro-batch alone: a batch that is cut is another loss.

    With `dims` it is the sum of the losses of the first so many numbers of each vector, as MatryoshkaLoss has it.
    """

    def __init__(self, *, scored: bool, pooling: Pooling, dims: Sequence[int] | None) -> None:
        """Raises UserError if sentence-transformers is missing."""
        need("embed", ["sentence_transformers"])
        from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MultipleNegativesRankingLoss

        # Both only need a model to compute vectors with, which they are given here.
        nothing: Any = torch.nn.Identity()
        self._of_vectors = (
            CoSENTLoss(nothing) if scored else MultipleNegativesRankingLoss(nothing)
        ).compute_loss_from_embeddings
        self.name = "CoSENTLoss" if scored else "MultipleNegativesRankingLoss"
        self._pooling, self._dims = pooling, dims

    def __call__(
        self,
        outputs: Any,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        assert attention_mask is not None
        states = outputs["last_hidden_state"]
        with torch.autocast(states.device.type, enabled=False):
            vectors = pooled(states, attention_mask, self._pooling).split(len(labels))
            cut = [vectors] if self._dims is None else [_shortened(vectors, dim) for dim in self._dims]
            total = torch.stack([self._of_vectors(list(each), labels) for each in cut]).sum()
        return mean_per_target(total * len(labels), labels, num_items_in_batch)


def _shortened(vectors: Sequence[Tensor], dim: int) -> list[Tensor]:
    return [normalize(each[:, :dim], dim=-1) for each in vectors]


HEAD = Head(noun="similarity", auto=AutoModel, targets=_targets, outputs=_outputs, loss=_no_loss, rows=_rows)
