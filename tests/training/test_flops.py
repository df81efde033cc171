"""What a step computes and what the machine could: against a count by the library, and a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from support import quick_or_slow
from support.families import FAMILIES, encoder_config
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    PreTrainedModel,
    TrainingArguments,
)

from llmkit.models.masked_lm import packed
from llmkit.models.packed_attention import VARLEN
from llmkit.system.run_folder import RunDir
from llmkit.training.flops import FlopCounter, peak_flops
from llmkit.training.reporting import TrainingLog

pytestmark = pytest.mark.oldest

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 70}
BATCH, LENGTH, TARGETS = 3, 16, 7
# Not all of their work is in linear layers and plain attention.
OWN_WORK = ("DeBERTa", "DeBERTa v2", "DeBERTa v3", "MPNet", "BigBird", "Longformer", "Funnel")
ALL_LINEAR = [family for family in FAMILIES if family not in OWN_WORK]


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


@pytest.mark.parametrize(
    "family", quick_or_slow(ALL_LINEAR, {"BERT", "DistilBERT", "ALBERT", "ModernBERT", "EuroBERT"})
)
def test_flops_of_pretraining_are_those_that_torch_counts(family: str) -> None:
    config = encoder_config(family, num_hidden_layers=4, **({"num_hidden_groups": 2} if family == "ALBERT" else {}))
    model = packed(AutoModelForMaskedLM.from_config(config, attn_implementation="sdpa"), LENGTH)
    model.config._attn_implementation = "eager"
    ids = torch.randint(5, 70, (BATCH, LENGTH))
    positions = torch.arange(LENGTH).expand(BATCH, LENGTH)
    targets = torch.arange(TARGETS)
    starts = torch.arange(0, BATCH * LENGTH + 1, LENGTH, dtype=torch.int32)
    inputs = {"input_ids": ids, "cu_seq_lens": starts, "position_ids": positions}
    expected = counted(model, {**inputs, "masked_positions": targets, "labels": torch.full((TARGETS,), 6)})
    assert FlopCounter(model).of(BATCH, LENGTH, targets=TARGETS) == pytest.approx(expected, rel=0.001)


def test_local_attention_by_hand() -> None:
    """Of rows of 3, 9 and 20 tokens, where a local layer sees 8 tokens on each side."""
    config = encoder_config("ModernBERT")
    model = AutoModel.from_config(config)
    pairs = [sum(abs(i - j) <= 8 for i in range(row) for j in range(row)) for row in (3, 9, 20)]
    rows = torch.tensor([3, 9, 20])
    found = FlopCounter(model).of(1, 32, rows=rows) - FlopCounter(model).of(1, 32, rows=torch.tensor([0]))
    assert config.layer_types == ["full_attention", "sliding_attention"]
    assert found == 12 * 32 * (int(rows.square().sum()) + sum(pairs))


def test_a_pooler_and_its_head_see_a_token_of_each_sequence() -> None:
    config = BertConfig(**SHAPE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=5)
    config._attn_implementation = "eager"
    model = BertForSequenceClassification(config)
    inputs = {"input_ids": torch.randint(5, 70, (BATCH, LENGTH)), "labels": torch.arange(BATCH)}
    assert FlopCounter(model).of(BATCH, LENGTH, targets=BATCH) == pytest.approx(counted(model, inputs), rel=0.001)


def test_rows_without_padding_by_hand() -> None:
    """Rows of 5, 9 and 16 tokens, and one of 2 that fills up: layers see 32 tokens, the head all 48 places."""
    model = BertForQuestionAnswering(BertConfig(**SHAPE))
    layer = 4 * 32 * 32 + 2 * 32 * 48  # weights: query, key, value and output, and the two halves of the feed-forward
    rows = torch.tensor([5, 9, 16, 2])
    pairs = 5**2 + 9**2 + 16**2 + 2**2
    forward = 2 * (2 * layer * 32 + 32 * 2 * 48) + 2 * 4 * 32 * pairs  # a product's addition counts too
    assert FlopCounter(model).of(3, 16, tokens=32, rows=rows) == 3 * forward


@pytest.mark.parametrize("kernel", [False, True])
def test_what_a_step_counts(kernel: bool, tmp_path: Path) -> None:
    """Documents of 10, 6 and 16 tokens in two blocks: a mask computes the whole blocks, the kernel does not."""
    model = BertForMaskedLM(BertConfig(**SHAPE))
    if kernel:
        model.config._attn_implementation = VARLEN
    log = TrainingLog(RunDir(tmp_path), cast(Any, None), "x", model, TrainingArguments(str(tmp_path), use_cpu=True))
    batch = {"input_ids": torch.zeros(2, 16, dtype=torch.long), "masked_positions": torch.arange(TARGETS)}
    log.add(batch | {"cu_seq_lens": torch.tensor([0, 10, 16, 32], dtype=torch.int32)})
    rows = torch.tensor([10, 6, 16] if kernel else [16, 16])
    assert log._flops == FlopCounter(model).of(2, 16, targets=TARGETS, rows=rows)


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
