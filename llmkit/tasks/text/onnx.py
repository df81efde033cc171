"""Export an encoder-decoder as three ONNX graphs, which write a text token by token without computing anything twice.

    encoder_model.onnx            input_ids, attention_mask [batch, length] → last_hidden_state [batch, length, hidden]
    decoder_model.onnx            the first step: input_ids [batch, written], encoder_hidden_states,
                                  encoder_attention_mask → logits [batch, written, vocabulary], present.…
    decoder_with_past_model.onnx  each further step: input_ids [batch, 1], encoder_attention_mask, past_key_values.… →
                                  logits [batch, 1, vocabulary], present.….decoder.…

`present.N.decoder.key` and `….value` [batch, heads, written, size] are what attention of layer N keeps of the tokens
written so far; the next step takes them as `past_key_values.N.decoder.key`. With `encoder` for `decoder`, they are what
it keeps of the text that was read: these stay what they are. Files, inputs and outputs are named as in Optimum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

from llmkit.models.onnx import Graphs, write_graph
from llmkit.tasks.head import training_collator
from llmkit.tasks.text.head import HEAD
from llmkit.tasks.text.onnx_generator import onnx_generator
from llmkit.tasks.values import Codec, Outputs

if TYPE_CHECKING:
    from datasets import Dataset

ENCODER, DECODER, WITH_PAST = "encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"
KEPT = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")  # by each layer of the decoder
BATCH_SIZE = 8  # texts whose logits are compared at a time


def write_graphs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the graphs, for batches of any size and length. Raises UserError if torch cannot export the model."""
    model.eval()
    batch, length, written = (torch.export.Dim(name) for name in ("batch", "length", "written"))
    inputs = dict(tokenizer(["one two"] * 2, return_tensors="pt"))
    reads = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    sizes: dict[str, Any] = {name: {0: batch, 1: length} for name in reads}
    encoder = _Encoder(model)
    write_graph(model, encoder, reads, ["last_hidden_state"], sizes, folder / ENCODER)

    mask = {"encoder_attention_mask": reads["attention_mask"]}
    with torch.no_grad():  # not inference_mode: its tensors cannot be exported
        hidden = encoder(**reads)
        first = {"input_ids": torch.zeros((2, 3), dtype=torch.long), "encoder_hidden_states": hidden, **mask}
        _, *kept = _FirstStep(model)(**first)
    sizes = {name: {0: batch, 1: written if name == "input_ids" else length} for name in first}
    names = [f"{layer}.{part}" for layer in range(len(kept) // len(KEPT)) for part in KEPT]
    presents = [f"present.{name}" for name in names]
    write_graph(model, _FirstStep(model), first, ["logits", *presents], sizes, folder / DECODER)

    past = {f"past_key_values.{name}": tensor for name, tensor in zip(names, kept, strict=True)}
    further = {"input_ids": torch.zeros((2, 1), dtype=torch.long), **mask, "past": past}
    kept_sizes = {name: {0: batch, 2: written if ".decoder." in name else length} for name in past}
    sizes = {"input_ids": {0: batch}, "encoder_attention_mask": {0: batch, 1: length}, "past": kept_sizes}
    grown = [name for name in presents if ".decoder." in name]
    write_graph(model, _FurtherStep(model), further, ["logits", *grown], sizes, folder / WITH_PAST)


def target_logits(model: PreTrainedModel, features: Dataset, codec: Codec) -> Iterator[Outputs]:
    """The logits of a model on the gold targets (teacher forcing), token by token as it writes: [target, vocabulary]
    per feature."""
    collate = training_collator(HEAD, codec, model)
    for rows in features.iter(BATCH_SIZE):
        columns = list(rows)
        batch = collate([dict(zip(columns, row, strict=True)) for row in zip(*rows.values(), strict=True)])
        del batch["labels"]
        steps = batch.pop("decoder_input_ids").split(1, dim=1)
        logits, cache, read = [], None, None
        with torch.inference_mode():
            for step in steps:
                found = model(
                    **batch, decoder_input_ids=step, past_key_values=cache, encoder_outputs=read, use_cache=True
                )
                logits.append(found.logits)
                cache, read = found.past_key_values, BaseModelOutput(found.encoder_last_hidden_state)
        for row, length in zip(torch.cat(logits, dim=1).numpy(), rows["target_length"], strict=True):
            yield {"logits": row[:length]}


class _Encoder(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden: Tensor = self.model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden


class _FirstStep(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, encoder_hidden_states: Tensor, encoder_attention_mask: Tensor
    ) -> tuple[Tensor, ...]:
        """The logits, and what each layer keeps, in the order of KEPT."""
        found = self.model(
            decoder_input_ids=input_ids,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoder_hidden_states),
            attention_mask=encoder_attention_mask,
            use_cache=True,
        )
        cache = found.past_key_values
        layers = zip(_kept(cache.self_attention_cache), _kept(cache.cross_attention_cache), strict=True)
        return (found.logits, *(tensor for own, cross in layers for tensor in (*own, *cross)))


class _FurtherStep(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, encoder_attention_mask: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """The logits, and the keys and values that grew by a token."""
        kept = list(past.values())
        layers = [kept[start : start + len(KEPT)] for start in range(0, len(kept), len(KEPT))]
        cache = EncoderDecoderCache(
            DynamicCache([tuple(layer[:2]) for layer in layers]), DynamicCache([tuple(layer[2:]) for layer in layers])
        )
        # With the keys of what was read at hand, only the number and the lengths of the texts are looked up in it.
        unread = kept[2].new_zeros((kept[2].shape[0], kept[2].shape[2], 1))
        found = self.model(
            decoder_input_ids=input_ids,
            encoder_outputs=BaseModelOutput(last_hidden_state=unread),
            attention_mask=encoder_attention_mask,
            past_key_values=cache,
            use_cache=True,
        )
        grown = _kept(found.past_key_values.self_attention_cache)
        return (found.logits, *(tensor for own in grown for tensor in own))


def _kept(cache: DynamicCache) -> Sequence[tuple[Tensor, Tensor]]:
    """The keys and values of each layer."""
    layers: list[Any] = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


ENCODER_DECODER = Graphs(
    files=(ENCODER, DECODER, WITH_PAST),
    write=write_graphs,
    run=onnx_generator,
    examples=50,  # few, since generation takes many steps
    # The head's outputs are texts, so compare logits on the gold targets instead.
    compared=target_logits,
)
