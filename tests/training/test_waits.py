"""No step reads a value back from the device: a GPU would have to finish all its work first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import Command
from support.runs import SHAPE, tune, write_demo_text
from support.waits import Waits, watch_steps


def test_reading_is_seen() -> None:
    with Waits() as waits:
        numbers = torch.arange(4) * 2
        assert not waits.places
        assert bool(numbers.sum() > 3)
        numbers[numbers > 2] = 0
        numbers[numbers > 2]
        numbers.tolist()
        float(numbers[0])
    assert waits.places[0].startswith("aten._local_scalar_dense.default")
    assert len(waits.places) >= 4
    assert all("test_waits.py" in place for place in waits.places)


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_no_step_waits(command: str, folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits()
    steps = watch_steps(monkeypatch, waits.__enter__, lambda: waits.__exit__(None, None, None))
    if command == "finetune":
        run = tune(folder)
    else:
        source = f"corpus.sources=[{write_demo_text(folder)}]"
        run = ["pretrain", "-r", "tiny/pretrain", "-o", "run", source, "corpus.tokenizer={path: tokenizer}"]
        run += [f"model.config={SHAPE}", "corpus.block_size=32", "train.max_steps=12"]
    code, _, err = llmkit(*run, "train.logging_steps=4", "train.eval_steps=12", "train.gradient_accumulation_steps=2")
    assert code == 0, err
    assert sorted(set(steps)) == [5, 6, 7, 9, 10, 11], "those that neither log nor evaluate"
    # Where inputs are padded, transformers looks whether there is any padding: once a forward pass.
    others = [place for place in waits.places if "padding_mask.all()" not in place]
    assert not others, "\n".join(others)
    assert others == waits.places or command == "finetune"
