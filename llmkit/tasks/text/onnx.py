"""An encoder-decoder as ONNX: two graphs, and the model that writes texts through them.

    encoder_model.onnx  input_ids, attention_mask [batch, length] → last_hidden_state [batch, length, hidden]
    decoder_model.onnx  input_ids [batch, written], encoder_hidden_states, encoder_attention_mask → logits
                        [batch, written, vocabulary]

Files and inputs have the names that Optimum gives them. The decoder reads all that is written at every step: a cache
of what it computed before would be a third graph, and worth it for long texts alone.
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
TOGETHER = 8  # texts whose logits are in memory at a time: each has a vocabulary for every token


def write_texts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the two graphs, for batches of any size and length. Raises UserError for what torch cannot export."""
    model.eval()
    batch, length, written = (torch.export.Dim(name) for name in ("batch", "length", "written"))
    inputs = dict(tokenizer(["one two"] * 2, return_tensors="pt"))
    read = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    encoder = _Encoder(model)
    with torch.inference_mode():
        hidden = encoder(**read)
    sizes = {0: batch, 1: length}
    write_graph(model, encoder, read, ["last_hidden_state"], dict.fromkeys(read, sizes), folder / ENCODER)
    write = {
        "input_ids": torch.zeros((2, 3), dtype=torch.long),
        "encoder_hidden_states": hidden.clone(),
        "encoder_attention_mask": read["attention_mask"],
    }
    shapes = {**dict.fromkeys(write, sizes), "input_ids": {0: batch, 1: written}}
    write_graph(model, _Decoder(model), write, ["logits"], shapes, folder / DECODER)


def writer_of(model: PreTrainedModel, encoder: Path, decoder: Path) -> PreTrainedModel:
    """The model, which searches for texts as it does, with onnxruntime in place of its halves."""
    reads = _OnnxEncoder(OnnxModel(encoder))
    decodes = OnnxModel(decoder)

    def forward(
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        **_: Any,  # what a cache would need
    ) -> Seq2SeqLMOutput:
        assert attention_mask is not None
        assert decoder_input_ids is not None
        if encoder_outputs is None:
            encoder_outputs = reads(input_ids, attention_mask)
        hidden = encoder_outputs.last_hidden_state
        assert hidden is not None
        said = decodes(input_ids=decoder_input_ids, encoder_hidden_states=hidden, encoder_attention_mask=attention_mask)
        return Seq2SeqLMOutput(logits=said["logits"])

    writer: Any = copy(model)  # its weights are shared, and not looked at
    writer.forward = forward
    writer.get_encoder = lambda *_, **__: reads
    writer.generation_config = deepcopy(writer.generation_config)
    writer.generation_config.use_cache = False
    return writer  # type: ignore[no-any-return]


def logits_of_targets(model: PreTrainedModel, features: Dataset, codec: Codec) -> Iterator[Outputs]:
    """What a model makes of each next token of the targets, for each feature: logits, [target, vocabulary]."""
    collate = training_collator(HEAD, codec)
    for rows in features.iter(TOGETHER):
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
    """A graph, where transformers expects a module with a signature to look at."""

    def __init__(self, graph: OnnxModel) -> None:
        super().__init__()
        self._graph = graph

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutput:
        said = self._graph(input_ids=input_ids, attention_mask=attention_mask)
        return BaseModelOutput(last_hidden_state=cast("torch.FloatTensor", said["last_hidden_state"]))


ENCODER_DECODER = Graphs(
    files=(ENCODER, DECODER),
    write=write_texts,
    run=writer_of,
    examples=50,  # each takes many steps
    # What is kept of its outputs are texts; logits are compared along the targets.
    compared=logits_of_targets,
)
