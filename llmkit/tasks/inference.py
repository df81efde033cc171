"""Run a model on features, on any number of processes, and score its predictions.

Fine-tuning, `eval`, `predict` and `ask` share this code, so they report the same scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel

from llmkit.corpus.tokenizer import tokenizer_fingerprint
from llmkit.models.collator import Batch, collator_for, to_device
from llmkit.models.eval_batches import batches_of, rows_at_a_time
from llmkit.models.packed_attention import uses_kernel
from llmkit.models.unpadded import unpad
from llmkit.recipes.finetuning import DataSection
from llmkit.system.out_of_memory import evaluating
from llmkit.system.processes import from_first, sharded, world_size
from llmkit.system.progress import Advance, Course
from llmkit.system.run_folder import Threshold
from llmkit.tasks.base import Task
from llmkit.tasks.head import Head
from llmkit.tasks.values import Array, Codec, Outputs, Prediction

if TYPE_CHECKING:
    from datasets import Dataset


def outputs_of(
    model: PreTrainedModel,
    head: Head,
    features: Dataset,
    codec: Codec,
    batch_size: int | None,
    *,
    bf16: bool,
    advance: Advance,
) -> list[Outputs] | None:
    """The model's outputs in the order of `features`; None on all processes but the first.

    A batch has `batch_size` features of like length, or if that is None, as many as suit the device.
    """
    lengths, device = np.asarray(features["length"]), model.device
    batches = batches_of(lengths, batch_size, device, unpadded=uses_kernel(model), max_rows=head.max_rows)
    most = batch_size or rows_at_a_time(int(lengths.max(initial=1)), device, head.max_rows)
    collate = collator_for(model, codec.tokenizer, buckets=device.type == "cuda")
    inputs = features.select_columns(
        [n for n in ("input_ids", "token_type_ids", "length") if n in features.column_names]
    )
    model.eval()
    done, share = 0, max(1, int(lengths.sum()) // world_size())

    def launch(numbers: Array) -> tuple[Array, Copied]:
        rows = inputs[numbers]
        columns = list(rows)
        batch = collate([dict(zip(columns, row, strict=True)) for row in zip(*rows.values(), strict=True)])
        with (
            evaluating(*batch["input_ids"].shape, most=most),
            torch.no_grad(),  # not inference_mode: training uses what a sharded model gathers here
            torch.autocast(device.type, torch.bfloat16, enabled=bf16),
        ):
            return numbers, Copied(head.outputs(model, to_device(batch, device)))

    def keep(launched: tuple[Array, Copied]) -> list[Outputs]:
        nonlocal done
        numbers, copied = launched
        done += int(lengths[numbers].sum())
        advance(min(done, share), share)
        return copied.rows(lengths[numbers] if head.per_token else None)

    results = sharded(batches, launch, keep)
    if results is None:
        return None
    outputs: list[Outputs] = [{}] * len(lengths)
    for numbers, batch_outputs in zip(batches, results, strict=True):
        for number, output in zip(numbers, batch_outputs, strict=True):
            outputs[number] = output
    return outputs


class Copied:
    """Tensors on their way to the CPU, in float32 if they are not integers. They are waited for when they are read."""

    def __init__(self, tensors: Batch) -> None:
        wide = {name: each.float() if each.is_floating_point() else each for name, each in tensors.items()}
        self._tensors = {name: each.to("cpu", non_blocking=True) for name, each in wide.items()}
        self._event = None
        if any(each.is_cuda for each in wide.values()):
            self._event = torch.cuda.Event()
            self._event.record()

    def rows(self, lengths: Array | None) -> list[Outputs]:
        """The outputs per feature, cut to these lengths."""
        if self._event is not None:
            self._event.synchronize()
        arrays = {name: each.numpy() for name, each in self._tensors.items()}
        if lengths is None:
            names = list(arrays)
            return [dict(zip(names, row, strict=True)) for row in zip(*arrays.values(), strict=True)]
        return [
            {name: array[number, :length].copy() for name, array in arrays.items()}
            for number, length in enumerate(lengths)
        ]


def ready(model: PreTrainedModel, device: torch.device, *, bf16: bool) -> PreTrainedModel:
    """The model on a device, with the fastest attention that it has there."""
    unpad(model, bf16=bf16)
    moved: PreTrainedModel = model.to(device)  # type: ignore[arg-type]
    return moved


@dataclass(frozen=True)
class Reader:
    """A trained model with its task and settings: maps examples to predictions. One that is `exported` runs in
    onnxruntime."""

    model: PreTrainedModel
    task: Task[Any]
    codec: Codec
    data: DataSection
    threshold: Threshold | None
    bf16: bool
    batch_size: int | None = None
    exported: bool = False

    def __call__(self, examples: Dataset, advance: Advance) -> list[Prediction] | None:
        """One prediction per example; None on all processes but the first. Raises UserError for a bad example."""
        features = self.task.encode(examples, self.codec, self.data, training=False)
        outputs = outputs_of(
            self.model, self.task.head, features, self.codec, self.batch_size, bf16=self.bf16, advance=advance
        )
        if outputs is None:
            return None
        return self.task.decode(outputs, features, examples, self.codec, self.data, threshold=self.threshold)


class TaskEvaluation:
    """The examples of one split, to score models on.

    After a call, `scores` is set on every process, `predictions` only on the first.
    """

    def __init__(
        self,
        task: Task[Any],
        examples: Dataset,
        features: Dataset,
        codec: Codec,
        data: DataSection,
        *,
        batch_size: int | None,
        bf16: bool,
    ) -> None:
        self._task, self._examples, self._features = task, examples, features
        self._codec, self._data, self._batch_size, self._bf16 = codec, data, batch_size, bf16
        self.predictions: Sequence[Prediction] = ()
        self.scores: dict[str, Any] = {}

    def outputs(self, model: PreTrainedModel) -> list[Outputs] | None:
        """The model's outputs for all features; None on all processes but the first."""
        size = len(self._features)
        with Course("evaluating", size, "features") as course:
            return outputs_of(
                model,
                self._task.head,
                self._features,
                self._codec,
                self._batch_size,
                bf16=self._bf16,
                advance=course.part(size),
            )

    def __call__(self, model: PreTrainedModel, threshold: Threshold | None = None) -> dict[str, Any]:
        """The model's scores on this split, in percent."""
        outputs = self.outputs(model)
        scores = None
        if outputs is not None:
            self.predictions = self._task.decode(
                outputs, self._features, self._examples, self._codec, self._data, threshold=threshold
            )
            scores = self._task.score(self.predictions, self._examples, self._data)
        self.scores = from_first(scores)
        return self.scores


def model_fingerprint(model: PreTrainedModel, codec: Codec) -> str:
    """Hash of everything that predictions depend on: weights, configuration, vocabularies, labels."""
    settings = [model.config.to_dict(), model.generation_config.to_dict() if model.can_generate() else None]
    vocabularies = [tokenizer_fingerprint(codec.tokenizer), tokenizer_fingerprint(codec.target_tokenizer)]
    found = hashlib.sha256(json.dumps([settings, [*vocabularies, *codec.labels]], sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:20]
