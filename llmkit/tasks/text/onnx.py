"""Export an encoder-decoder as two ONNX graphs, and generate texts with them.

    encoder_model.onnx  input_ids, attention_mask [batch, length] → last_hidden_state [batch, length, hidden]
    decoder_model.onnx  input_ids [batch, target], encoder_hidden_states, encoder_attention_mask → logits
                        [batch, target, vocabulary]

Files and inputs are named as in Optimum. The decoder reads the whole target prefix at every step: a key-value cache
would need a third graph, and pays off only for long texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy, deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from llmkit.models.onnx import Graphs, OnnxModel, write_graph
from llmkit.tasks.head import training_collator
from llmkit.tasks.text.head import HEAD
from llmkit.tasks.values import Codec, Outputs

if TYPE_CHECKING:
    from datasets import Dataset

ENCODER, DECODER = "encoder_model.onnx", "decoder_model.onnx"
BATCH_SIZE = 8  # texts; their logits take a vocabulary's size per token


def write_graphs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the two graphs, for batches of any size and length. Raises UserError if torch cannot export the model."""
    model.eval()
    batch, length, written = (torch.export.Dim(name) for name in ("batch", "length", "written"))
    inputs = dict(tokenizer(["one two"] * 2, return_tensors="pt"))
    encoder_inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    encoder = _Encoder(model)
    with torch.inference_mode():
        hidden = encoder(**encoder_inputs)
    sizes = {0: batch, 1: length}
    encoder_shapes = dict.fromkeys(encoder_inputs, sizes)
    write_graph(model, encoder, encoder_inputs, ["last_hidden_state"], encoder_shapes, folder / ENCODER)
    decoder_inputs = {
        "input_ids": torch.zeros((2, 3), dtype=torch.long),
        "encoder_hidden_states": hidden.clone(),
        "encoder_attention_mask": encoder_inputs["attention_mask"],
    }
    decoder_shapes = {**dict.fromkeys(decoder_inputs, sizes), "input_ids": {0: batch, 1: written}}
    write_graph(model, _Decoder(model), decoder_inputs, ["logits"], decoder_shapes, folder / DECODER)


def onnx_generator(model: PreTrainedModel, encoder: Path, decoder: Path) -> PreTrainedModel:
    """A copy of the model that generates as before, but runs its encoder and decoder in onnxruntime."""
    run_encoder = _OnnxEncoder(OnnxModel(encoder))
    run_decoder = OnnxModel(decoder)

    def forward(
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        **_: Any,  # arguments for a key-value cache
    ) -> Seq2SeqLMOutput:
        assert attention_mask is not None
        assert decoder_input_ids is not None
        if encoder_outputs is None:
            encoder_outputs = run_encoder(input_ids, attention_mask)
        hidden = encoder_outputs.last_hidden_state
        assert hidden is not None
        outputs = run_decoder(
            input_ids=decoder_input_ids, encoder_hidden_states=hidden, encoder_attention_mask=attention_mask
        )
        return Seq2SeqLMOutput(logits=outputs["logits"])

    generator: Any = copy(model)  # shares the weights, which stay unused
    generator.forward = forward
    generator.get_encoder = lambda *_, **__: run_encoder
    generator.generation_config = deepcopy(generator.generation_config)
    generator.generation_config.use_cache = False
    return generator  # type: ignore[no-any-return]


def target_logits(model: PreTrainedModel, features: Dataset, codec: Codec) -> Iterator[Outputs]:
    """The logits of a model on the gold targets (teacher forcing), [target, vocabulary] per feature."""
    collate = training_collator(HEAD, codec, model)
    for rows in features.iter(BATCH_SIZE):
        columns = list(rows)
        batch = collate([dict(zip(columns, row, strict=True)) for row in zip(*rows.values(), strict=True)])
        del batch["labels"]
        with torch.inference_mode():
            logits = model(**batch, use_cache=False).logits.numpy()
        for row, length in zip(logits, rows["target_length"], strict=True):
            yield {"logits": row[:length]}


class _Encoder(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden: Tensor = self.model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden


class _Decoder(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, encoder_hidden_states: Tensor, encoder_attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(
            decoder_input_ids=input_ids,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoder_hidden_states),
            attention_mask=encoder_attention_mask,
            use_cache=False,
        ).logits
        return logits


class _OnnxEncoder(nn.Module):
    """A graph as a torch module: generate() inspects the signature of the encoder's forward."""

    def __init__(self, graph: OnnxModel) -> None:
        super().__init__()
        self._graph = graph

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutput:
        outputs = self._graph(input_ids=input_ids, attention_mask=attention_mask)
        return BaseModelOutput(last_hidden_state=cast("torch.FloatTensor", outputs["last_hidden_state"]))


ENCODER_DECODER = Graphs(
    files=(ENCODER, DECODER),
    write=write_graphs,
    run=onnx_generator,
    examples=50,  # few, since generation takes many steps
    # The head's outputs are texts, so compare logits on the gold targets instead.
    compared=target_logits,
)
