"""A model as ONNX: written, quantized, and run by onnxruntime as if it were one of transformers'.

The packages for it come with `llmkit[export]`, so they are imported inside functions.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from llmkit.system.errors import UserError

MODEL = "model.onnx"
PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")
LARGEST = 2_000_000_000  # bytes of weights; an ONNX file is a protobuf, which ends at 2 GiB with the graph in it


class OnnxModel:
    """An ONNX file in a session of onnxruntime, with what an evaluation asks of a model of transformers.

    It computes on the CPU, on as many threads as torch does.
    """

    device = torch.device("cpu")

    def __init__(self, file: Path) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self._inputs = [needed.name for needed in self._session.get_inputs()]
        self._outputs = [output.name for output in self._session.get_outputs()]

    def eval(self) -> OnnxModel:
        """As it is: a graph has no other mode."""
        return self

    def __call__(self, **batch: Tensor) -> dict[str, Tensor]:
        given = {name: tensor.numpy() for name, tensor in batch.items()}
        # A model of transformers takes token_type_ids for zeros where none are given; a graph wants them.
        given |= {name: np.zeros_like(given["input_ids"]) for name in self._inputs if name not in given}
        arrays = self._session.run(self._outputs, given)
        return {name: torch.from_numpy(array) for name, array in zip(self._outputs, arrays, strict=True)}


def check_packages() -> None:
    """Raises UserError where a package is missing that exporting needs."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(
            f"exporting needs packages that are not installed: {', '.join(missing)}",
            remedy="install them: pip install 'llmkit[export]'",
        )


def size_of(model: PreTrainedModel) -> int:
    """Bytes of a model's weights."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def check_size(model: PreTrainedModel) -> None:
    """Raises UserError where the weights do not fit into an ONNX file."""
    if (size := size_of(model)) > LARGEST:
        raise UserError(
            f"{size / 1e9:.1f} GB of weights do not fit into an ONNX file, which holds 2", remedy="use a smaller model"
        )


def write_onnx(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, file: Path) -> None:
    """Write the model, for batches of any size and length. It takes what the tokenizer gives, under the same names.

    Its outputs have the names and the order that they have in transformers. Raises UserError for a model that torch
    cannot export.
    """
    model.eval()
    inputs = dict(tokenizer(["one"] * 2, ["two"] * 2, return_tensors="pt"))
    with torch.inference_mode():
        outputs = list(model(**inputs))
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    write_graph(model, model, inputs, outputs, dict.fromkeys(inputs, sizes), file)


def write_graph(
    model: PreTrainedModel,
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    sizes: Mapping[str, Mapping[int, torch.export.Dim]],
    file: Path,
) -> None:
    """Write what a module, which is a model or a part of it, makes of inputs such as these. `sizes` are those of their
    dimensions that may change. Raises UserError for a model that torch cannot export.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # Attention as plain products and a softmax. torch's fused one becomes a longer graph, which looks for NaN in every
    # score and takes up to a seventh longer in onnxruntime.
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with _quietly():
            program = torch.onnx.export(
                module,
                kwargs=dict(inputs),
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=dict(sizes),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            # Every node carries the lines of Python it came from, with the paths that they have on this machine.
            ClearMetadataAndDocStringPass()(program.model)
            program.save(file, external_data=False)
    except torch.onnx.OnnxExporterError as error:
        raise UserError(
            f"torch cannot export a {type(model).__name__}: {str(error.__cause__ or error).strip().splitlines()[0]}",
            remedy="export a model of another architecture, such as BERT",
        ) from error
    finally:
        model.set_attn_implementation(attention)


def quantize(file: Path, output: Path) -> None:
    """Write an ONNX model with weights of 8 bits, whose products are of integers: inputs are scaled as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quietly():
        quantize_dynamic(file, output, weight_type=QuantType.QUInt8, per_channel=True)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporters' notes off the screen: on torchvision, on steps that change nothing, on their own future."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@dataclass(frozen=True)
class Graphs:
    """How a kind of model is exported.

    files     the ONNX files
    write     (model, tokenizer, folder) writes them
    run       (model, path of each file) → what an evaluation runs in place of the model
    examples  how many to check on, unless told otherwise
    compared  (model, training features, codec) → logits to compare, where evaluations keep none
    """

    files: tuple[str, ...]
    write: Callable[[PreTrainedModel, PreTrainedTokenizerFast, Path], None]
    run: Callable[..., PreTrainedModel]
    examples: int = 500
    compared: Callable[..., Iterable[Mapping[str, Any]]] | None = None


ENCODER = Graphs(
    files=(MODEL,),
    write=lambda model, tokenizer, folder: write_onnx(model, tokenizer, folder / MODEL),
    # An evaluation asks no more of a model than an OnnxModel has.
    run=lambda _, file: cast("PreTrainedModel", OnnxModel(file)),
)
