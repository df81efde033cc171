"""Generate texts with the graphs of an encoder-decoder: transformers' own search, with onnxruntime at each step."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from llmkit.models.onnx import OnnxModel


def onnx_generator(model: PreTrainedModel, encoder: Path, decoder: Path, with_past: Path) -> PreTrainedModel:
    """A copy of the model that generates as before, but runs its encoder and decoder in onnxruntime."""
    run_encoder = _Encoder(OnnxModel(encoder))
    first_step, further_step = OnnxModel(decoder), OnnxModel(with_past)

    def forward(
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        past_key_values: Any = None,
        **_: Any,  # what the search says of its cache
    ) -> Seq2SeqLMOutput:
        assert attention_mask is not None
        assert decoder_input_ids is not None
        if encoder_outputs is None:
            encoder_outputs = run_encoder(input_ids, attention_mask)
        hidden = encoder_outputs.last_hidden_state
        assert hidden is not None
        # Before the first step, a search gives an empty cache of its own.
        if isinstance(past_key_values, _Cache):
            outputs = further_step(
                input_ids=decoder_input_ids[:, -1:], encoder_attention_mask=attention_mask, **past_key_values.inputs
            )
            cache = past_key_values.grown(outputs)
        else:
            outputs = first_step(
                input_ids=decoder_input_ids, encoder_hidden_states=hidden, encoder_attention_mask=attention_mask
            )
            cache = _Cache.of(outputs)
        return Seq2SeqLMOutput(
            logits=outputs["logits"], past_key_values=cast("Any", cache), encoder_last_hidden_state=hidden
        )

    generator: Any = copy(model)  # shares the weights, which stay unused
    generator.forward = forward
    generator.get_encoder = lambda *_, **__: run_encoder
    return generator  # type: ignore[no-any-return]


class _Cache:
    """What the decoder's attention keeps, by the name of the graph's input: of the tokens written, and of the text
    read. It has the part of the interface of transformers' caches that a search uses."""

    is_compileable = False

    def __init__(self, written: Mapping[str, Tensor], read: Mapping[str, Tensor]) -> None:
        self._written, self._read = dict(written), read

    @classmethod
    def of(cls, outputs: Mapping[str, Tensor]) -> _Cache:
        """The cache after the first step."""
        kept = _as_inputs(outputs)
        parts = ({name: kept[name] for name in kept if f".{half}." in name} for half in ("decoder", "encoder"))
        return cls(*parts)

    def grown(self, outputs: Mapping[str, Tensor]) -> _Cache:
        """The cache after a further step."""
        return _Cache(_as_inputs(outputs), self._read)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The inputs of the next step."""
        return {**self._written, **self._read}

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The number of tokens written."""
        return int(next(iter(self._written.values())).shape[2])

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Give each beam the tokens of the one that it goes on from. That one has read the same text."""
        self._written = {name: tensor.index_select(0, beam_idx) for name, tensor in self._written.items()}


def _as_inputs(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a step that the next one takes."""
    return {name.replace("present", "past_key_values"): outputs[name] for name in outputs if name != "logits"}


class _Encoder(nn.Module):
    """A graph as a torch module: generate() inspects the signature of the encoder's forward."""

    def __init__(self, graph: OnnxModel) -> None:
        super().__init__()
        self._graph = graph

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutput:
        outputs = self._graph(input_ids=input_ids, attention_mask=attention_mask)
        return BaseModelOutput(last_hidden_state=cast("Any", outputs["last_hidden_state"]))
