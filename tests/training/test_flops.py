"""What a step computes and what the machine could: against a count by the library, and a clock."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedModel

from llmkit.models.masked_lm import BertForMaskedLM
from llmkit.training.flops import FlopCounter, peak_flops

pytestmark = pytest.mark.oldest

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 70}
BATCH, LENGTH, TARGETS = 3, 16, 7


def counted(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        model(**inputs).loss.backward()
    return counter.get_total_flops()


def test_flops_are_those_that_torch_counts() -> None:
    # Without dropout, but with the attention that torch takes apart into products that it counts.
    config = BertConfig(**SHAPE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    config._attn_implementation = "eager"
    ids = torch.randint(5, 70, (BATCH, LENGTH))
    answers = torch.zeros(BATCH, dtype=torch.long)
    qa = BertForQuestionAnswering(config)
    expected = counted(qa, {"input_ids": ids, "start_positions": answers, "end_positions": answers})
    assert FlopCounter(qa).of(BATCH, LENGTH) == pytest.approx(expected, rel=0.001)

    mlm = BertForMaskedLM(config)
    positions = torch.arange(LENGTH).expand(BATCH, LENGTH)
    targets = torch.arange(TARGETS)
    starts = torch.arange(0, BATCH * LENGTH + 1, LENGTH, dtype=torch.int32)
    packed = {"input_ids": ids, "cu_seq_lens": starts, "position_ids": positions}
    expected = counted(mlm, {**packed, "masked_positions": targets, "labels": torch.full((TARGETS,), 6)})
    assert FlopCounter(mlm).of(BATCH, LENGTH, TARGETS) == pytest.approx(expected, rel=0.001)


def test_a_processor_is_measured() -> None:
    flops = peak_flops(torch.device("cpu"), bf16=False)
    assert flops is not None
    assert 1e8 < flops < 1e14


def test_a_gpu_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, flops in {
        "NVIDIA H100 80GB HBM3": 989e12,
        "NVIDIA H100 PCIe": 756e12,
        "NVIDIA A100-SXM4-80GB": 312e12,
        "NVIDIA A10": 125e12,
        "NVIDIA L40S": 362e12,
        "NVIDIA L4": 121e12,
        "NVIDIA RTX A1000": None,
        "Some other GPU": None,
    }.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        assert peak_flops(torch.device("cuda", 0), bf16=True) == flops, name
    assert peak_flops(torch.device("cuda", 0), bf16=False) is None  # data sheets count other products there
