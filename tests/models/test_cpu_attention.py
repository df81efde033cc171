"""Attention in large products: torch's numbers and gradients, for every mask, and in whole models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command
from support.runs import pretrained, write_demo_text, write_questions
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from llmkit.models import cpu_attention
from llmkit.models.cpu_attention import LONGEST, PRODUCTS, train_by_products

ROWS, HEADS, SIZE, LENGTH = 3, 2, 8, 11
SEEN = torch.arange(LENGTH) < torch.tensor([LENGTH, 7, 2])[:, None]  # which tokens of a row are no padding
FAR = float("-inf")
SHAPE = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the length of the rows of every pass that is ours."""
    lengths: list[int] = []
    products = cpu_attention._products

    def counting(query: Tensor, *others: Any) -> Tensor:
        lengths.append(query.shape[2])
        return products(query, *others)

    monkeypatch.setattr(cpu_attention, "_products", counting)
    return lengths


class Layer(nn.Module):
    """What calls the attention of an encoder."""

    is_causal = False


def added(mask: Tensor) -> Tensor:
    return torch.zeros(mask.shape).masked_fill(~mask, FAR)


MASKS = {
    "none": None,
    "padding": SEEN[:, None, None, :],
    "two documents": (torch.arange(LENGTH) < 5)[None, :] == (torch.arange(LENGTH) < 5)[:, None],
    "added": added(SEEN[:, None, None, :]),
    # Tokens of padding see no token at all.
    "local": (SEEN[:, None, None, :] & torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(-2).tril(2)),
    "local, added": added(SEEN[:, None, None, :] & torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(-2).tril(2)),
}


def gradients(attention: Any, states: list[Tensor], coming: Tensor, dtype: torch.dtype) -> list[Tensor]:
    given = [state.to(dtype).requires_grad_() for state in states]
    attention(*given).backward(coming.to(dtype))
    return [state.grad.double() for state in given if state.grad is not None]


@pytest.mark.parametrize("name", MASKS)
def test_gradients_are_torchs(name: str, counted: list[int]) -> None:
    mask = MASKS[name]
    states = [torch.randn(ROWS, HEADS, LENGTH, SIZE) for _ in range(3)]
    coming = torch.randn(ROWS, LENGTH, HEADS, SIZE) * SEEN[:, :, None, None]  # padding has no loss

    def exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        as_double = mask if mask is None or mask.dtype == torch.bool else mask.double()
        return scaled_dot_product_attention(query, key, value, attn_mask=as_double, scale=0.3).transpose(1, 2)

    def ours(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return ALL_ATTENTION_FUNCTIONS[PRODUCTS](Layer(), query, key, value, mask, scaling=0.3)[0]

    expected = gradients(exact, states, coming, torch.float64)
    found = gradients(ours, states, coming, torch.bfloat16)
    assert counted == [LENGTH]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 0.02 * other.norm()  # of 8 bits


@pytest.mark.parametrize("case", ["evaluating", "float32", "dropout", "causal", "long", "other tokens"])
def test_torch_computes_the_rest(case: str, counted: list[int]) -> None:
    length = LONGEST + 1 if case == "long" else LENGTH
    dtype = torch.float32 if case == "float32" else torch.bfloat16
    query, key, value = (torch.randn(1, HEADS, length, SIZE, dtype=dtype, requires_grad=True) for _ in range(3))
    if case == "other tokens":
        query = query[:, :, :4]
    layer = Layer()
    layer.is_causal = case == "causal"
    others = {"dropout": 0.5} if case == "dropout" else {}
    with torch.set_grad_enabled(case != "evaluating"):
        found, _ = ALL_ATTENTION_FUNCTIONS[PRODUCTS](layer, query, key, value, None, **others)
    assert counted == []
    if not others:
        expected = scaled_dot_product_attention(query, key, value, is_causal=layer.is_causal)
        assert torch.equal(found, expected.transpose(1, 2))


def models() -> list[PreTrainedModel]:
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    modern = ModernBertConfig(**SHAPE, intermediate_size=48, local_attention=6, global_attn_every_n_layers=2)
    return [BertForMaskedLM(BertConfig(**SHAPE, intermediate_size=48, **still)), ModernBertForMaskedLM(modern)]


@pytest.mark.parametrize("model", models(), ids=["bert", "modernbert"])
def test_a_model_trains_as_before_and_is_saved_as_before(
    model: PreTrainedModel, counted: list[int], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    batch = {
        "input_ids": torch.randint(1, 40, (ROWS, LENGTH)),
        "attention_mask": SEEN.long(),
        "labels": torch.where(SEEN, torch.randint(1, 40, (ROWS, LENGTH)), -100),
    }

    def trained() -> Tensor:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            model(**batch).loss.backward()
        return torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])

    before = trained()
    model.save_pretrained(tmp_path / "before")
    assert counted == []
    train_by_products(model, bf16=True)
    after = trained()
    assert counted == [LENGTH, LENGTH]
    assert bool(after.isfinite().all())
    assert (after - before).norm() <= 0.02 * before.norm()
    model.save_pretrained(tmp_path / "after")
    config = "config.json"
    assert (tmp_path / "after" / config).read_text() == (tmp_path / "before" / config).read_text()


def test_only_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for bf16, gpu, chosen in ((True, False, PRODUCTS), (False, False, "sdpa"), (True, True, "sdpa")):
        model = models()[0]
        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
            train_by_products(model, bf16=bf16)
        assert model.config._attn_implementation == chosen
    model.config._attn_implementation = "eager"
    train_by_products(model, bf16=True)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_runs_train_with_it(kind: str, llmkit: Command, tmp_path: Path, counted: list[int]) -> None:
    if kind == "pretrain":
        data = [
            "-r",
            "tiny/pretrain",
            f"corpus.sources=[{{path: {write_demo_text(tmp_path)}}}]",
            "corpus.tokenizer.vocab_size=300",
        ]
    else:
        write_questions(tmp_path / "squad.jsonl")
        data = ["-r", "tiny/squad", f"model.pretrained={pretrained(tmp_path)}"]
        data += ["data.train=squad.jsonl", "data.validation=squad.jsonl"]
    code, _, err = llmkit(kind, *data, "train.bf16=true", "train.max_steps=2", "-o", "run")
    assert code == 0, err
    assert counted
