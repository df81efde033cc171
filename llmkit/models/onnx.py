"""Export models to ONNX, quantize them, and run them in onnxruntime with the interface of a transformers model.

The packages are optional (`llmkit[export]`), so they are imported inside functions.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from llmkit.system.errors import UserError

MODEL = "model.onnx"
PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")
LARGEST = 2_000_000_000  # bytes of weights: an ONNX file is a protobuf of at most 2 GiB, including the graph


class OnnxModel:
    """An ONNX file in an onnxruntime session, with the part of a transformers model's interface that evaluations use.

    It runs on the CPU, with as many threads as torch.
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
        """Do nothing: an exported graph has no training mode."""
        return self

    def __call__(self, **batch: Tensor) -> dict[str, Tensor]:
        given = {name: tensor.numpy() for name, tensor in batch.items()}
        # A model of transformers takes token_type_ids for zeros where none are given; a graph wants them.
        given |= {name: np.zeros_like(given["input_ids"]) for name in self._inputs if name not in given}
        arrays = self._session.run(self._outputs, given)
        return {name: torch.from_numpy(array) for name, array in zip(self._outputs, arrays, strict=True)}


def check_packages() -> None:
    """Raises UserError if a package that exporting needs is missing."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(
            f"exporting needs packages that are not installed: {', '.join(missing)}",
            remedy="install them: pip install 'llmkit[export]'",
        )


def size_of(model: PreTrainedModel) -> int:
    """The size of a model's weights, in bytes."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def check_size(model: PreTrainedModel) -> None:
    """Raises UserError if the weights do not fit into an ONNX file."""
    if (size := size_of(model)) > LARGEST:
        raise UserError(
            f"{size / 1e9:.1f} GB of weights do not fit into an ONNX file (at most 2 GB)", remedy="use a smaller model"
        )


def write_onnx(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, file: Path) -> None:
    """Export the model for batches of any size and length. Its inputs have the names of the tokenizer's outputs.

    Its outputs have the same names and order as in transformers. Raises UserError if torch cannot export the model.
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
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    sizes: Mapping[str, Any],
    file: Path,
) -> None:
    """Export a module, which is `model` or a part of it.

    `inputs` are examples by argument of the module: a tensor, or several by name. `sizes` names the dimensions of each
    that may vary, in the same form. Raises UserError if torch cannot export the module.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # Use plain matrix products and a softmax. torch's fused attention becomes a longer graph that checks every score
    # for NaN and takes up to a seventh longer in onnxruntime.
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with _quietly():
            program = torch.onnx.export(
                module,
                kwargs=dict(inputs),
                input_names=list(_by_name(inputs)),
                output_names=outputs,
                dynamic_shapes=dict(sizes),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            check_sizes(program.model.graph.inputs, _by_name(sizes), type(model).__name__)
            # The metadata of every node contains the source lines it comes from, with paths on this machine.
            ClearMetadataAndDocStringPass()(program.model)
            program.save(file, external_data=False)
    except torch.onnx.OnnxExporterError as error:
        raise _cannot_export(type(model).__name__, str(error.__cause__ or error).strip().splitlines()[0]) from error
    finally:
        model.set_attn_implementation(attention)


def _by_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors, or their sizes, by the name that the graph gives them: arguments with several are taken apart."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        several = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        found |= value if several else {name: value}
    return found


def check_sizes(inputs: Iterable[Any], sizes: Mapping[str, Mapping[int, Any]], model: str) -> None:
    """Raises UserError if an input of a graph has one size where `sizes` says that it may vary.

    Where a model's code computes with a length as a number, torch may take that of the example for a constant.
    """
    for value in inputs:
        if any(isinstance(value.shape[axis], int) for axis in sizes[value.name]):
            raise _cannot_export(model, f"its graph would take {value.name} of the size {value.shape} only")


def _cannot_export(model: str, why: str) -> UserError:
    return UserError(
        f"torch cannot export a {model}: {why}", remedy="export a model of another architecture, such as BERT"
    )


def quantize(file: Path, output: Path) -> None:
    """Quantize an ONNX model to signed 8-bit weights. Matrix products use integers; activations are scaled dynamically.

    Weights use 7 of the 8 bits: without VNNI, onnxruntime adds two products in 16 bits, which more would overflow.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quietly():
        quantize_dynamic(file, output, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporters' notes on torchvision, on passes that change nothing, and on deprecations.

    torch also prints the whole graph where it fails.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@dataclass(frozen=True)
class Graphs:
    """How to export a kind of model.

    files     names of the ONNX files
    write     (model, tokenizer, folder): writes them
    run       (model, path of each file) → what evaluations run in place of the model
    examples  default number of examples to compare on
    compared  (model, training features, codec) → logits to compare; None if evaluations return logits
    """

    files: tuple[str, ...]
    write: Callable[[PreTrainedModel, PreTrainedTokenizerFast, Path], None]
    run: Callable[..., PreTrainedModel]
    examples: int = 500
    compared: Callable[..., Iterable[Mapping[str, Any]]] | None = None


ENCODER = Graphs(
    files=(MODEL,),
    write=lambda model, tokenizer, folder: write_onnx(model, tokenizer, folder / MODEL),
    # Evaluations use only the part of the interface that OnnxModel has.
    run=lambda _, file: cast("PreTrainedModel", OnnxModel(file)),
)
