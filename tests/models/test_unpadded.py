"""Encoders without padding: every family gives what it gives with padding, or is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.families import FAMILIES, encoder_config
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, PreTrainedModel, T5Config, T5ForConditionalGeneration

from llmkit.models import packed_attention
from llmkit.models.collator import Collator, bucket_of, layout
from llmkit.models.packed_attention import VARLEN, kernel_holds, uses_kernel
from llmkit.models.unpadded import gives_the_same, unpad
from llmkit.tasks.head import Head, training_collator
from llmkit.tasks.inference import Copied
from llmkit.tasks.label.head import HEAD as LABEL
from llmkit.tasks.span.head import HEAD as SPAN
from llmkit.tasks.tags.head import HEAD as TAGS
from llmkit.tasks.values import Codec

pytestmark = pytest.mark.oldest

ROTARY = {"ModernBERT", "mmBERT", "EuroBERT"}
UNPADDED = {"BERT", "RoBERTa", "DistilBERT", "ELECTRA", "ALBERT", "XLM-R", "CamemBERT", *ROTARY}
HEADS = {"span": SPAN, "label": LABEL, "tags": TAGS}
LENGTHS = (9, 30, 17, 23)
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 60}


@pytest.fixture(autouse=True)
def kernel_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel needs a GPU: its mask stands in for it."""
    monkeypatch.setattr("llmkit.models.unpadded.kernel_holds", lambda *_, **__: True)


def codec() -> Codec:
    tokenizer: Any = SimpleNamespace(pad_token_id=0, model_input_names=["input_ids", "token_type_ids"])
    return Codec(tokenizer)


def features(vocabulary: int, *, segments: bool) -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(1)
    rows = []
    for number, length in enumerate(LENGTHS):
        row: dict[str, Any] = {
            "input_ids": torch.randint(9, vocabulary, (length,), generator=random).tolist(),
            "length": length,
            "start_positions": number,
            "end_positions": length - 1,
            "label": number % 2,
            "tag_labels": [position % 3 for position in range(length)],
        }
        rows.append(row | ({"token_type_ids": [0] * 5 + [1] * (length - 5)} if segments else {}))
    return rows


def layered(family: str) -> Any:
    """The configuration of a family's encoder; a ModernBERT of three layers, two of them with local attention."""
    config = encoder_config(family)
    if config.model_type == "modernbert":
        config = type(config)(**{**config.to_dict(), "num_hidden_layers": 3, "layer_types": None})
    return config


def model_with(head: Head, config: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    for name in vars(config):
        if "dropout" in name and isinstance(getattr(config, name), float):
            setattr(config, name, 0.0)
    config.num_labels = 2 if head is SPAN else 3
    model: PreTrainedModel = head.auto.from_config(config)
    return model.train()


def loss_and_gradient(model: PreTrainedModel, head: Head, batch: dict[str, torch.Tensor]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    inputs = dict(batch)
    loss = head.loss(model(**inputs), inputs.pop("labels"), attention_mask=batch["attention_mask"])
    loss.backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(gradients)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_uses_the_kernel(family: str) -> None:
    model = model_with(TAGS, layered(family))
    before = model.config._attn_implementation
    unpad(model, bf16=True)
    assert uses_kernel(model) == (family in UNPADDED)
    assert model.training
    assert model.config._attn_implementation == (VARLEN if family in UNPADDED else before)


def test_a_family_that_fails_without_padding_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    model = model_with(TAGS, BertConfig(**SHAPE))

    def strict(_: Any, args: Any, kwargs: Any) -> None:
        if "padded" in kwargs:
            raise TypeError("forward() got an unexpected keyword argument 'padded'")

    model.base_model.encoder.layer[0].register_forward_pre_hook(strict, with_kwargs=True)
    unpad(model, bf16=True)
    assert not uses_kernel(model)
    assert model.config._attn_implementation == "sdpa"
    assert not model.base_model.encoder._forward_hooks
    assert "BertForTokenClassification cannot do without padding" in capsys.readouterr().err


def test_an_encoder_decoder_keeps_its_padding() -> None:
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 20}
    assert not gives_the_same(T5ForConditionalGeneration(T5Config(**sizes)))


# transformers has no EuroBERT that answers questions.
PAIRS = [(family, name) for family in sorted(UNPADDED) for name in HEADS if (family, name) != ("EuroBERT", "span")]


@pytest.mark.parametrize(("family", "name"), PAIRS)
@pytest.mark.parametrize("buckets", [False, True])
def test_losses_and_gradients_are_those_of_padded_rows(family: str, name: str, buckets: bool) -> None:
    head = HEADS[name]
    config = layered(family)
    rows = features(config.vocab_size, segments=getattr(config, "type_vocab_size", 0) == 2)
    model = model_with(head, config)
    padded, gradient = loss_and_gradient(model, head, training_collator(head, codec(), model)(rows))
    unpad(model, bf16=True, training=True)
    batch = training_collator(head, codec(), model, buckets=buckets)(rows)
    assert len(batch["token_places"]) == (128 if buckets else sum(LENGTHS))
    loss, other = loss_and_gradient(model, head, batch)
    assert loss == pytest.approx(padded, abs=1e-5)
    torch.testing.assert_close(other, gradient, atol=1e-5, rtol=1e-4)


def test_outputs_are_those_of_padded_rows() -> None:
    model = model_with(SPAN, BertConfig(**SHAPE)).eval()
    rows = features(60, segments=True)
    tokenizer = codec().tokenizer
    with torch.inference_mode():
        expected = Copied(SPAN.outputs(model, Collator(tokenizer)(rows))).rows(np.array(LENGTHS))
        unpad(model, bf16=True)
        batch = Collator(tokenizer, buckets=True, unpadded=True)(rows)
        found = Copied(SPAN.outputs(model, batch)).rows(np.array(LENGTHS))
    for one, other in zip(expected, found, strict=True):
        for name, logits in one.items():
            torch.testing.assert_close(torch.from_numpy(other[name]), torch.from_numpy(logits), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_pieces_and_padding_leave_the_gradient_as_it_is(head: Head) -> None:
    """One micro-batch of four rows, or two of two, or more padding: the same step."""
    model = model_with(head, BertConfig(**SHAPE))
    rows = features(60, segments=True)

    def gradient(*pieces: Sequence[int], buckets: bool = False) -> torch.Tensor:
        collate = training_collator(head, codec(), model, buckets=buckets)
        batches = [collate([rows[number] for number in piece]) for piece in pieces]
        targets = sum(batch["labels"].ne(-100).sum() for batch in batches)
        model.zero_grad()
        for batch in batches:
            labels = batch.pop("labels")
            mask = batch["attention_mask"]
            head.loss(model(**batch), labels, num_items_in_batch=targets, attention_mask=mask).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole = gradient(range(4))
    for other in (gradient([0, 1], [2, 3]), gradient([0], [1], [2], [3]), gradient([0, 1, 2], [3], buckets=True)):
        torch.testing.assert_close(other, whole, atol=1e-6, rtol=1e-4)


def test_where_tokens_are() -> None:
    found = layout([2, 4, 1], length=5, tokens=10)
    assert found["token_places"].tolist() == [0, 1, 5, 6, 7, 8, 10, 15, 15, 15]
    assert found["cu_seq_lens"].tolist() == [0, 2, 6, 7, 10]
    assert found["cu_seq_lens"].dtype == torch.int32
    assert layout([5], length=5, tokens=5)["cu_seq_lens"].tolist() == [0, 5, 5], "the last row may be empty"


def test_few_sizes_occur_and_little_is_filled_up() -> None:
    sizes = range(20, 12_000)
    found = {-(-size // bucket_of(size, 384)) * bucket_of(size, 384) for size in sizes}
    assert len(found) < 90
    for size in sizes:
        step = bucket_of(size, 384)
        assert -size % step < min(384, max(64, size / 16)), "the row that fills up is no longer than a row may be"


def test_the_kernel_is_given_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that share keys, a window, and the longest row: what the kernel does with them, a row at a time."""
    asked: list[tuple[int, tuple[int, int]]] = []

    def varlen(
        q: Any, k: Any, v: Any, starts: Any, _: Any, longest: int, __: int, *, scale: Any, window_size: Any
    ) -> Any:
        asked.append((longest, window_size))
        parts = []
        for start, stop in pairwise(starts.tolist()):
            assert stop - start <= longest
            states = (each[start:stop].transpose(0, 1) for each in (q, k, v))
            place = torch.arange(stop - start)
            seen = (place[:, None] - place).abs() <= window_size[0] if window_size[0] >= 0 else None
            parts.append(torch.nn.functional.scaled_dot_product_attention(*states, attn_mask=seen, scale=scale))
        return torch.cat([part.transpose(0, 1) for part in parts])

    by_mask = packed_attention._by_mask
    for family, windows in (("ModernBERT", {(-1, -1), (8, 8)}), ("EuroBERT", {(-1, -1)})):
        config = layered(family)
        rows = features(config.vocab_size, segments=False)
        model = model_with(TAGS, config).eval()
        unpad(model, bf16=True)
        batch = Collator(codec().tokenizer, buckets=True, unpadded=True)(rows)
        monkeypatch.setattr(packed_attention, "_by_mask", by_mask)
        with torch.no_grad():
            expected = model(**batch)["logits"]
            monkeypatch.setattr(packed_attention, "varlen_attn", varlen)
            monkeypatch.setattr(packed_attention, "_by_mask", packed_attention._by_kernel)
            found = model(**batch)["logits"]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        assert {longest for longest, _ in asked} == {64}
        assert {window for _, window in asked} == windows
        asked.clear()


@pytest.mark.slow
def test_a_compiled_model_stays_compiled() -> None:
    """One graph for the first size, one for all others, and no break at the hooks."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = model_with(SPAN, BertConfig(**SHAPE))
    unpad(model, bf16=True, training=True)
    compiled = torch.compile(model, backend="eager")
    collate = Collator(codec().tokenizer, buckets=True, unpadded=True)
    for lengths in ((9, 30), (60, 64), (40, 100), (100, 128), (150, 10)):
        compiled(**collate([{"input_ids": [9] * length, "length": length} for length in lengths]))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3
    assert not torch._dynamo.utils.counters["graph_break"]


class Reads(TorchDispatchMode):
    """Counts what would make the CPU wait for a GPU: a number that is read from a tensor."""

    number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "ModernBERT"])
@pytest.mark.parametrize("name", HEADS)
def test_no_step_reads_a_tensor(family: str, name: str) -> None:
    head, config = HEADS[name], layered(family)
    model = model_with(head, config)
    unpad(model, bf16=True, training=True)
    rows = features(config.vocab_size, segments=False)
    batch = training_collator(head, codec(), model, buckets=True)(rows)
    labels = batch.pop("labels")
    targets = labels.ne(-100).sum()
    with Reads() as reads:
        head.loss(model(**batch), labels, num_items_in_batch=targets, attention_mask=batch["attention_mask"]).backward()
        assert reads.number == 0
        _ = targets.item()
        assert reads.number == 1, "it would be seen"


def test_where_the_kernel_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    config = BertConfig(**SHAPE, attention_probs_dropout_prob=0.0)

    def holds(*, bf16: bool = True, training: bool = True, **changes: Any) -> bool:
        return kernel_holds(
            BertConfig(**{**SHAPE, "attention_probs_dropout_prob": 0.0, **changes}), bf16=bf16, training=training
        )

    assert not holds(), "there is no GPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert holds()
    assert not holds(bf16=False)
    assert not holds(hidden_size=24), "heads of 12"
    assert not holds(hidden_size=1024), "heads of 512"
    assert holds(hidden_size=512), "heads of 256"
    assert not holds(attention_probs_dropout_prob=0.1)
    assert holds(attention_probs_dropout_prob=0.1, training=False)
    config.head_dim = 12
    assert not kernel_holds(config, bf16=True, training=True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert not holds()
