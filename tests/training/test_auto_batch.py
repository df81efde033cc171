"""What happens where memory runs out: an error with what to change, or with --auto-batch the change itself.

The models here refuse batches above a size, with the errors that torch and Python raise.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support import Command
from support.runs import tune, weights
from transformers import BertForQuestionAnswering

from llmkit.corpus.demo.data import documents
from llmkit.system.out_of_memory import OutOfMemory, evaluating, is_out_of_memory, smaller_micro_batch
from llmkit.tasks.span import head as span
from llmkit.training.checkpoints import evaluation_due, newest

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB.")
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "9663676416 bytes. Error code 12 (Cannot allocate memory)"
)
SIZES = ["train.per_device_train_batch_size=16", "train.per_device_eval_batch_size=8", "data.max_length=64"]
Limit = Callable[..., None]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """`limit(training=4, evaluating=8, after=10)`: larger batches raise, once `after` of any size went through."""
    forward = BertForQuestionAnswering.forward

    def set_limit(*, training: int = 10**6, evaluating: int = 10**6, after: int = 0, error: Exception = CUDA) -> None:
        seen = 0

        def limited(self: Any, input_ids: torch.Tensor, **inputs: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen > after and len(input_ids) > (training if torch.is_grad_enabled() else evaluating):
                raise error
            return forward(self, input_ids, **inputs)

        monkeypatch.setattr(BertForQuestionAnswering, "forward", limited)

    return set_limit


def train_section(run: Path) -> dict[str, Any]:
    section: dict[str, Any] = yaml.safe_load((run / "recipe.yaml").read_text())["train"]
    return section


def pieces(run: Path) -> tuple[int, int, int]:
    section = train_section(run)
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size")
    first, second, third = (section[name] for name in names)
    return first, second, third


@pytest.mark.parametrize(
    ("batch_size", "accumulated", "smaller"),
    [(32, 1, (16, 2)), (12, 2, (6, 4)), (7, 1, (1, 7)), (7, 2, (2, 7)), (9, 1, (3, 3)), (2, 5, (1, 10)), (1, 8, None)],
)
def test_smaller_pieces_make_the_same_batch(batch_size: int, accumulated: int, smaller: tuple[int, int] | None) -> None:
    found = smaller_micro_batch(batch_size, accumulated)
    assert tuple(found.values()) == (smaller or ())


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (CUDA, True),
        (CPU, True),
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_errors_mean_it(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (CUDA, "CUDA out of memory"),
        pytest.param(CPU, "can't allocate", marks=pytest.mark.slow),
        pytest.param(MemoryError(), "", marks=pytest.mark.slow),
    ],
)
def test_a_step_without_room_says_what_to_change(
    error: Exception, detail: str, folder: Path, llmkit: Command, limit: Limit
) -> None:
    limit(training=15, after=4, error=error)
    code, _, err = llmkit(*tune(folder, *SIZES))
    assert code == 1
    assert "error: out of memory at step " in err
    assert "on a micro-batch of 16 × 64 tokens" in err
    assert detail in err
    assert "Set train.per_device_train_batch_size=8 train.gradient_accumulation_steps=2, which keeps the batch" in err
    assert "--resume -o run" in err
    # What it says is what works.
    given = ["train.per_device_train_batch_size=8", "train.gradient_accumulation_steps=2"]
    code, _, err = llmkit(*tune(folder, *SIZES, *given), "--resume")
    assert code == 0, err
    assert "(8 × 2 accumulated ×" in err
    assert pieces(folder / "run") == (8, 2, 8)


def test_an_evaluation_without_room_keeps_what_was_trained(folder: Path, llmkit: Command, limit: Limit) -> None:
    code, _, err = llmkit(*tune(folder, *SIZES, "train.per_device_eval_batch_size=4"))
    assert code == 0, err
    (folder / "run").rename(folder / "whole")
    limit(evaluating=4)
    code, _, err = llmkit(*tune(folder, *SIZES))
    assert code == 1
    assert "error: out of memory in an evaluation, on a batch of 8 × 64 tokens (CUDA out of memory" in err
    assert "Set train.per_device_eval_batch_size=4, or let --auto-batch find what fits, and resume with --resume" in err
    checkpoint = newest(folder / "run" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-6"
    assert evaluation_due(checkpoint)
    code, _, err = llmkit(*tune(folder, *SIZES, "train.per_device_eval_batch_size=4"), "--resume")
    assert code == 0, err
    assert "step 6: " in err, "the evaluation that was due"
    assert weights(folder / "run") == weights(folder / "whole")


def test_a_dry_run_says_it_too(folder: Path, llmkit: Command, limit: Limit) -> None:
    limit(training=15)
    code, _, err = llmkit(*tune(folder, *SIZES), "--dry-run")
    assert code == 1
    assert "Set train.per_device_train_batch_size=8 train.gradient_accumulation_steps=2" in err
    assert "--resume" not in err
    code, _, err = llmkit(*tune(folder, *SIZES), "--dry-run", "--auto-batch")
    assert code == 0, err
    assert "8 × 2 examples" in err
    assert "estimate" in err


def test_pieces_that_fit_are_found_before_the_run(folder: Path, llmkit: Command, limit: Limit) -> None:
    given = ["train.per_device_train_batch_size=4", "train.gradient_accumulation_steps=4"]
    code, _, err = llmkit(*tune(folder, *SIZES, *given, "train.per_device_eval_batch_size=2"))
    assert code == 0, err
    (folder / "run").rename(folder / "given")
    limit(training=5, evaluating=3)
    code, _, err = llmkit(*tune(folder, *SIZES), "--auto-batch")
    assert code == 0, err
    told = "16 × 1 examples (8 in evaluations) do not fit in memory, 4 × 4 examples (2 in evaluations) do; the batch"
    assert f"--auto-batch: {told}" in err
    assert err.count("computing on") == 1
    assert "steps of 16 examples (4 × 4 accumulated ×" in err
    # Nothing is left of the search: the run is that of the pieces, had they been given.
    assert pieces(folder / "run") == (4, 4, 2)
    assert weights(folder / "run") == weights(folder / "given")
    logged = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert logged[0]["step"] == 0
    assert logged[0]["per_device_train_batch_size"] == 4


def test_evaluations_by_tokens_get_a_number_where_they_do_not_fit(folder: Path, llmkit: Command, limit: Limit) -> None:
    limit(evaluating=7)
    sizes = ["train.per_device_train_batch_size=4", "train.max_steps=2", "data.max_length=64"]
    code, _, err = llmkit(*tune(folder, *sizes), "--auto-batch")
    assert code == 0, err
    number = train_section(folder / "run")["per_device_eval_batch_size"]
    assert 1 < number <= 7
    assert f"4 × 1 examples do not fit in memory, 4 × 1 examples ({number} in evaluations) do" in err
    code, _, err = llmkit("eval", "run")
    assert code == 1
    assert "out of memory in an evaluation" in err
    tried = 0
    while code and tried < 5:  # what it says is what works, in the end
        size = re.search(r"Use --batch-size (\d+)", err)
        assert size is not None, err
        tried += 1
        code, _, err = llmkit("eval", "run", "--batch-size", size[1])
    assert code == 0, err


def test_an_evaluation_is_tried_with_the_rows_that_it_takes(
    folder: Path, llmkit: Command, limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span, "HEAD", replace(span.HEAD, max_rows=7))
    limit(evaluating=7)
    sizes = ["train.per_device_train_batch_size=4", "train.max_steps=2", "data.max_length=64"]
    code, _, err = llmkit(*tune(folder, *sizes), "--auto-batch")
    assert code == 0, err
    assert "--auto-batch: 4 × 1 examples fit in memory" in err
    assert "per_device_eval_batch_size" not in train_section(folder / "run")


@pytest.mark.parametrize(
    ("rows", "most", "smaller"), [(1024, 128, 64), (8, 8, 4), (3, 128, 1), (1024, 1, 1), (1, 128, None)]
)
def test_the_smaller_batch_is_smaller_for_the_longest_rows_too(rows: int, most: int, smaller: int | None) -> None:
    with pytest.raises(OutOfMemory) as raised, evaluating(rows, 64, most=most):
        raise CUDA
    assert raised.value.smaller.get("per_device_eval_batch_size") == smaller


def test_what_fits_is_left_as_it_is(folder: Path, llmkit: Command) -> None:
    code, _, err = llmkit(*tune(folder, *SIZES))
    assert code == 0, err
    (folder / "run").rename(folder / "plain")
    code, _, err = llmkit(*tune(folder, *SIZES), "--auto-batch")
    assert code == 0, err
    assert "--auto-batch: 16 × 1 examples (8 in evaluations) fit in memory" in err
    assert weights(folder / "run") == weights(folder / "plain")
    assert (folder / "run" / "recipe.yaml").read_text() == (folder / "plain" / "recipe.yaml").read_text()


def test_one_example_too_many_is_an_error(folder: Path, llmkit: Command, limit: Limit) -> None:
    limit(training=0)
    code, _, err = llmkit(*tune(folder, *SIZES), "--auto-batch")
    assert code == 1
    assert "out of memory on a single example of 64 tokens" in err
    assert "data.max_length" in err
    code, _, err = llmkit(*tune(folder, *SIZES, "train.per_device_train_batch_size=1"))
    assert code == 1
    assert "data.max_length" in err


@pytest.mark.parametrize("evaluating", [False, True])
def test_memory_that_runs_out_later_restarts_the_run_in_smaller_pieces(
    evaluating: bool, folder: Path, llmkit: Command, limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def execv(program: str, arguments: list[str]) -> None:
        started.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    # Three went through to find the pieces; the rest is of the run.
    limit(**{"evaluating" if evaluating else "training": 6}, after=3 if evaluating else 12)
    command = [*tune(folder, *SIZES), "--auto-batch"]
    code, _, err = llmkit(*command)
    assert code == 0, err
    assert "warning: out of memory " in err
    assert "resuming from the last checkpoint with smaller micro-batches" in err
    assert started == [[sys.executable, "-m", "llmkit", *command, "--resume"]]
    assert pieces(folder / "run") == ((16, 1, 4) if evaluating else (8, 2, 8))
    limit(**{"evaluating" if evaluating else "training": 8})
    code, _, err = llmkit(*command, "--resume")
    assert code == 0, err
    assert pieces(folder / "run") == ((16, 1, 4) if evaluating else (8, 2, 8))


def test_a_resumed_run_keeps_the_pieces_that_were_found(folder: Path, llmkit: Command, limit: Limit) -> None:
    limit(training=4)
    code, _, err = llmkit(*tune(folder, *SIZES), "--auto-batch")
    assert code == 0, err
    (folder / "run" / "metrics.json").unlink()
    code, _, err = llmkit(*tune(folder, *SIZES), "--resume")
    assert code == 0, err
    assert pieces(folder / "run") == (4, 4, 8)
    # Another batch is another run.
    (folder / "run" / "metrics.json").unlink()
    code, _, err = llmkit(*tune(folder, *SIZES, "train.gradient_accumulation_steps=2"), "--resume")
    assert code == 1
    assert "train.gradient_accumulation_steps was 4, is 2" in err


# Once everything is imported, this many bytes more.
LIMITED = """
import resource, sys
import psutil
from llmkit.commands import pretrain
from llmkit.cli.main import main

limit = psutil.Process().memory_info().vms + int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main()
"""


@pytest.mark.slow
def test_a_real_limit(folder: Path) -> None:
    """A micro-batch of 512 takes some 800 MB, one of 64 some 100."""
    (folder / "text.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text, _ in zip(documents(), range(400), strict=False))
    )
    sizes = ["train.per_device_train_batch_size=512", "train.per_device_eval_batch_size=16", "train.max_steps=1"]
    shape = "{hidden_size: 256, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 1024}"
    corpus = ["corpus.sources=[text.jsonl]", "corpus.tokenizer.vocab_size=400", "corpus.block_size=32"]
    command = ["pretrain", "-r", "tiny/pretrain", f"model.config={shape}", *corpus, *sizes, "train.bf16=false"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        limited = [sys.executable, "-c", LIMITED, str(400 * 2**20), *command, *arguments]
        return subprocess.run(limited, cwd=folder, capture_output=True, text=True, check=False)

    failed = run("-o", "failed")
    assert failed.returncode == 1, failed.stderr
    assert "error: out of memory at step 1, on a micro-batch of 512 × 32 tokens" in failed.stderr
    assert "train.per_device_train_batch_size=256 train.gradient_accumulation_steps=2" in failed.stderr
    assert "Traceback" not in failed.stderr
    fitted = run("-o", "fitted", "--auto-batch")
    assert fitted.returncode == 0, fitted.stderr
    assert "--auto-batch: 512 × 1 examples (16 in evaluations) do not fit in memory" in fitted.stderr
    micro, accumulated, _ = pieces(folder / "fitted")
    assert micro < 512
    assert micro * accumulated == 512
