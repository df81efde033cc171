"""What only a GPU can show: its kernel, its precision, and that no step waits for it."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command
from support.runs import run_command
from support.waits import watch_steps
from transformers import AutoModelForMaskedLM, BertConfig, ModernBertConfig

from llmkit.corpus.demo import data as demo
from llmkit.models.masked_lm import packed
from llmkit.models.packed_attention import VARLEN, uses_kernel
from llmkit.models.packing_trial import choose_attention
from llmkit.training.sharding import SHARDED_WEIGHTS
from llmkit.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

BATCH, LENGTH = 4, 128


@pytest.fixture(params=["bert", "modernbert"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    if request.param == "modernbert":  # its second layer is local: a token sees 32 on each side
        ids = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0)
        config: Any = ModernBertConfig(vocab_size=1000, local_attention=64, **ids, **shape)
    else:
        config = BertConfig(vocab_size=1000, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **shape)
    return packed(AutoModelForMaskedLM.from_config(config), LENGTH).cuda()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    starts = [0, 50, 128, 256, 300, 333, 384]
    positions = torch.cat([torch.arange(b - a) for a, b in zip(starts, [*starts[1:], 512], strict=True)])
    host = {
        "input_ids": torch.randint(5, 1000, (BATCH, LENGTH)),
        "position_ids": positions.view(BATCH, LENGTH),
        "cu_seq_lens": torch.tensor([*starts, 512], dtype=torch.int32),
        "masked_positions": torch.arange(0, 512, 7),
        "labels": torch.randint(5, 1000, (74,)),
    }
    return {name: tensor.cuda() for name, tensor in host.items()}


def loss_and_gradient(model: Any, batch: dict[str, torch.Tensor]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    with torch.autocast("cuda", torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()
    layers = [weight for name, weight in model.named_parameters() if "attention.self.query" in name or "Wqkv" in name]
    gradient = torch.cat([weight.grad.flatten() for weight in layers if weight.grad is not None])
    assert gradient is not None
    return loss.item(), gradient.clone()


def test_the_kernel_gives_what_the_mask_gives(model: Any, batch: dict[str, torch.Tensor]) -> None:
    masked, gradient = loss_and_gradient(model, batch)
    choose_attention(model, bf16=True)
    assert model.config._attn_implementation == VARLEN
    varlen, other = loss_and_gradient(model, batch)
    assert varlen == pytest.approx(masked, abs=1e-2)
    assert torch.nn.functional.cosine_similarity(gradient.flatten(), other.flatten(), dim=0) > 0.99


def test_documents_of_no_length_and_targets_that_do_not_count(model: Any, batch: dict[str, torch.Tensor]) -> None:
    choose_attention(model, bf16=True)
    exact, gradient = loss_and_gradient(model, batch)
    filled = {
        "cu_seq_lens": torch.cat([batch["cu_seq_lens"], batch["cu_seq_lens"][-1:].expand(57)]),
        "masked_positions": torch.cat([batch["masked_positions"], torch.zeros(54, dtype=torch.int64).cuda()]),
        "labels": torch.cat([batch["labels"], torch.full((54,), -100).cuda()]),
    }
    loss, other = loss_and_gradient(model, {**batch, **filled})
    assert loss == pytest.approx(exact, abs=1e-3)
    assert torch.nn.functional.cosine_similarity(gradient.flatten(), other.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
@pytest.mark.parametrize("workers", [0, 2])
def test_no_step_waits(command: str, workers: int, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the batch to the callbacks: CUDA itself complains of whatever waits."""
    training_step = Trainer.training_step

    def by_the_kernel(self: Trainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        assert uses_kernel(self.network)
        return training_step(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", by_the_kernel)
    steps = watch_steps(
        monkeypatch, lambda: torch.cuda.set_sync_debug_mode("error"), lambda: torch.cuda.set_sync_debug_mode("default")
    )
    shape = "hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 128"
    model = f"model.config={{{shape}, hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}}"
    sizes = ["train.max_steps=12", "train.logging_steps=4", "train.eval_steps=12", "-n", "1"]
    sizes += ["train.gradient_accumulation_steps=2", f"train.dataloader_num_workers={workers}"]
    try:
        code, _, err = llmkit("pretrain", "-r", "tiny/pretrain", "-o", "base", model, *sizes)
        assert code == 0, err
        if command == "finetune":
            steps.clear()
            code, _, err = llmkit("finetune", "-r", "tiny/squad", "model.pretrained=base", "-o", "run", *sizes)
            assert code == 0, err
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sorted(set(steps)) == [5, 6, 7, 9, 10, 11]


def test_a_resumed_run_is_the_same_with_deterministic_kernels(llmkit: Command, tmp_path: Path) -> None:
    """Above 128 tokens, where the kernel's backward pass would otherwise add in any order."""
    texts = iter(demo.documents())
    documents = [" ".join(islice(texts, 16)) for _ in range(100)]
    assert min(len(document.split()) for document in documents) > 256
    (tmp_path / "long.txt").write_text("\n".join(documents))
    shape = "hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 128"
    recipe = ["-r", "tiny/pretrain", "corpus.sources=[{path: long.txt, documents: line}]", "corpus.block_size=512"]
    recipe += [f"model.config={{{shape}, max_position_embeddings: 512, attention_probs_dropout_prob: 0.0}}"]
    code, out, err = llmkit("verify", "resume", *recipe, "train.deterministic=true", "-n", "1")
    assert (code, out.startswith("yes: ")) == (0, True), err


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_the_flow(compiled: str, llmkit: Command, tmp_path: Path) -> None:
    steps = ["train.max_steps=8", f"train.torch_compile={compiled}"]
    code, _, err = llmkit("pretrain", "-r", "tiny/pretrain", "-o", "base", "-n", "1", *steps)
    assert code == 0, err
    assert "bf16" in err
    code, _, err = llmkit("finetune", "-r", "tiny/squad", "model.pretrained=base", "-o", "run", "-n", "1", *steps)
    assert code == 0, err
    scores: dict[str, Any] = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 <= scores["f1"] <= 100


def test_sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FSDP_STATE_DICT_TYPE", "FULL_STATE_DICT")
    processes = str(torch.cuda.device_count())
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, "-m")
    run_command("pretrain", "-r", "tiny/pretrain", "-o", "run", "train.max_steps=4", cwd=tmp_path, launcher=torchrun)
    assert list(tmp_path.glob(f"run/checkpoints/*/{SHARDED_WEIGHTS}"))
    AutoModelForMaskedLM.from_pretrained(tmp_path / "run" / "model")
