"""Muon: the updates are those of a plain, slow reference; which parameters it takes; its state in a checkpoint."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from llmkit.training import muon
from llmkit.training.muon import Muon, orthogonal
from llmkit.training.optimizer import matrices_of_layers

LR, DECAY = 0.01, 0.1
SHAPES = [(6, 6), (6, 6), (4, 10), (10, 4), (6, 7)]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
    "pad_token_id": 0,
}


def matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def slowly(gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
    """Muon's direction by a singular value decomposition, with its polynomial on the singular values; the momentum."""
    momentum = 0.95 * momentum + 0.05 * gradient
    left, values, right = torch.linalg.svd((0.95 * momentum + 0.05 * gradient).double(), full_matrices=False)
    values = values / values.square().sum().sqrt()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return (left * values @ right).float(), momentum


def optimizer_of(parameters: list[nn.Parameter], rest: list[nn.Parameter], dtype: torch.dtype = torch.float32) -> Muon:
    others = torch.optim.AdamW([{"params": rest, "weight_decay": 0.0}], lr=LR)
    return Muon([{"params": parameters, "weight_decay": DECAY}], others, lr=LR, dtype=dtype)


def gradients_for(parameters: list[nn.Parameter], step: int) -> None:
    for number, parameter in enumerate(parameters):
        parameter.grad = matrix(*parameter.shape, seed=100 * step + number)


@pytest.mark.parametrize("at_once", [muon.AT_ONCE, 1])
def test_updates_are_those_of_a_slow_reference(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "AT_ONCE", at_once)
    parameters = [nn.Parameter(matrix(*shape, seed=number)) for number, shape in enumerate(SHAPES)]
    expected, momenta = [p.detach().clone() for p in parameters], [torch.zeros(shape) for shape in SHAPES]
    optimizer = optimizer_of(parameters, [])
    for step in range(1, 4):
        gradients_for(parameters, step)
        optimizer.step()
        for number, (rows, columns) in enumerate(SHAPES):
            direction, momenta[number] = slowly(matrix(rows, columns, seed=100 * step + number), momenta[number])
            expected[number] *= 1 - LR * DECAY
            expected[number] -= LR * 0.2 * max(rows, columns) ** 0.5 * direction
    for parameter, values in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), values, rtol=1e-4, atol=1e-5)


def test_torch_agrees() -> None:
    mine, torchs = (nn.Parameter(matrix(24, 16)) for _ in range(2))
    optimizers = [
        optimizer_of([mine], [], torch.bfloat16),
        torch.optim.Muon([torchs], lr=LR, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
    ]
    for step in range(3):
        gradients_for([mine], step)
        gradients_for([torchs], step)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(mine, torchs, rtol=0, atol=2e-3)  # bf16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (32, 48), (16, 64), (64, 16)])
def test_singular_values_come_near_one(rows: int, columns: int, dtype: torch.dtype) -> None:
    matrices = torch.stack([matrix(rows, columns, seed) * 10.0 ** (seed - 2) for seed in range(4)])
    found = orthogonal(matrices.to(dtype)).float()
    # Of a square matrix some singular values are so small that five steps do not bring them up.
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.3
    assert values[:, : min(rows, columns) * 3 // 4].min() > 0.5
    for before, after in zip(matrices, found, strict=True):
        left, _, right = torch.linalg.svd(before, full_matrices=False)
        kept = left.mT @ after @ right.mT
        off = kept - torch.diag(kept.diagonal())
        assert off.abs().max() < (1e-3 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("shape", [(8, 8), (4, 16)])
def test_degenerate_matrices(shape: tuple[int, int]) -> None:
    zeros, rank_one = torch.zeros(1, *shape), torch.ones(1, *shape)
    assert not orthogonal(zeros).any()
    values = torch.linalg.svdvals(orthogonal(rank_one))[0]
    assert 0.5 < values[0] < 1.3
    assert values[1:].max() < 1e-2


@pytest.mark.parametrize("ratio", [2, 4])
def test_a_gram_matrix_of_rounded_zeros_does_no_harm(ratio: int) -> None:
    """Where few directions have nearly all of the gradient, as early in training."""
    flat = matrix(64, 2) @ matrix(2, 64 * ratio, 1) + 1e-6 * matrix(64, 64 * ratio, 2)
    values = torch.linalg.svdvals(orthogonal(flat[None]))[0]
    assert values.max() < 1.3
    assert values[:2].min() > 0.5


def test_the_rest_is_trained_by_adamw_with_the_same_rate() -> None:
    mine, reference = nn.Parameter(matrix(5, 3)), nn.Parameter(matrix(5, 3))
    optimizer = optimizer_of([nn.Parameter(matrix(4, 4))], [mine])
    adamw = torch.optim.AdamW([reference], lr=LR, weight_decay=0.0)
    for step in range(3):
        for group in (*optimizer.param_groups, *adamw.param_groups):
            group["lr"] = LR / (step + 1)  # as a scheduler does
        gradients_for([mine], step)
        gradients_for([reference], step)
        optimizer.step()
        adamw.step()
    assert torch.equal(mine, reference)


def test_a_parameter_without_a_gradient_stays() -> None:
    used, unused = nn.Parameter(matrix(4, 4)), nn.Parameter(matrix(4, 4))
    optimizer = optimizer_of([used, unused], [])
    gradients_for([used], 1)
    optimizer.step()
    assert torch.equal(unused, matrix(4, 4))
    assert not torch.equal(used, matrix(4, 4))


def test_its_state_goes_on_bit_for_bit() -> None:
    parameters = [nn.Parameter(matrix(*shape)) for shape in (*SHAPES, (3, 3))]
    optimizer = optimizer_of(parameters[:-1], parameters[-1:])
    for step in range(2):
        gradients_for(parameters, step)
        optimizer.step()
    others = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    resumed = optimizer_of(others[:-1], others[-1:])
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    for step in range(2, 4):
        for some, its in ((parameters, optimizer), (others, resumed)):
            gradients_for(some, step)
            its.step()
    assert all(map(torch.equal, parameters, others))


@pytest.mark.parametrize(
    ("family", "more", "each"),
    [
        ("bert", {}, 6),
        ("modernbert", {"global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2}, 4),
        ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}, 8),
        ("distilbert", {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}, 6),
    ],
)
def test_it_takes_the_matrices_of_the_layers(family: str, more: dict[str, Any], each: int) -> None:
    with torch.device("meta"):
        model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(family, **SMALL, **more))
    names = matrices_of_layers(model, {name for name, _ in model.named_parameters() if "bias" not in name})
    assert len(names) == 2 * each
    assert all(".0." in name or ".1." in name for name in names)
    assert not [name for name in names if "embed" in name or "norm" in name.lower()]


def test_of_an_encoder_and_a_decoder_it_takes_both_but_no_positions() -> None:
    small = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 50}
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model("t5", **small))
    names = matrices_of_layers(model, {name for name, _ in model.named_parameters()})
    assert len(names) == (4 + 2) + (8 + 2)
    assert not [name for name in names if "relative_attention_bias" in name]
