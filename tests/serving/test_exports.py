"""An ONNX export is served by onnxruntime, and answers as the model it was made of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support import quick_or_slow
from support.models import write_model, write_writer
from support.runs import untraced_exports as untraced_exports  # a fixture
from support.served import client

pytest.importorskip("onnxruntime")

from llmkit.commands.serve import prepare
from llmkit.models.checkpoint import Checkpoint
from llmkit.models.exported import exported
from llmkit.models.onnx import quantize
from llmkit.system.errors import UserError
from llmkit.tasks.settings import settings_of

TEXT = "Ines built the lamp & left in 1874. " * 12
SENT: dict[str, dict[str, Any]] = {
    "squad": {"question": "Who left?", "context": TEXT},
    "classification": {"text": TEXT},
    "regression": {"text": TEXT},
    "ner": {"text": TEXT},
    "translation": {"source": "Two dogs run."},
}


def write_export(model: Path, folder: Path) -> Path:
    """What `llmkit export` writes, without its checks."""
    settings = settings_of(str(model), None, "rows")
    loaded, codec = settings.task.load_trained(settings.checkpoint, settings.data)
    shutil.copytree(model, folder)
    (folder / "model.safetensors").unlink()
    settings.task.graphs().write(loaded, codec.tokenizer, folder)
    return folder


def answer(model: Path, sent: dict[str, Any], *, int8: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    with client(prepare(str(model), None, [], int8=int8)) as server:
        found = server.post("/predict", json=sent)
        assert found.status_code == 200, found.text
        return found.json(), server.get("/info").json()


@pytest.mark.parametrize("task", quick_or_slow(SENT, ("squad",)))
def test_it_answers_as_the_model_does(task: str, tmp_path: Path) -> None:
    model = write_writer(tmp_path / "model") if task == "translation" else write_model(tmp_path / "model", task)
    before, told = answer(model, SENT[task])
    assert told["runs_on"].startswith("PyTorch")
    export = write_export(model, tmp_path / "export")
    after, told = answer(export, SENT[task])
    assert told["runs_on"].startswith("onnxruntime; ")
    assert told["no_why"] == (
        "a generated text is many choices, one after the other, not one number"
        if task == "translation"
        else "an ONNX export has no gradients; serve the run that it was exported from"
    )
    if task == "regression":
        assert after["number"] == pytest.approx(before["number"], rel=1e-4)
    else:
        assert after["text"] == before["text"]
        assert after["score"] == pytest.approx(before["score"], abs=1e-4)
    with pytest.raises(UserError, match="_int8"):
        prepare(str(export), None, [], int8=True)
    if task == "squad":
        quantize(export / "model.onnx", export / "model_int8.onnx")
        assert answer(export, SENT[task], int8=True)[1]["runs_on"].startswith("onnxruntime, int8; ")


def test_an_export_of_which_a_graph_is_missing(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "squad")
    (model / "encoder_model.onnx").touch()
    with pytest.raises(UserError, match=r"has no decoder_model\.onnx; an older llmkit exported it"):
        exported(Checkpoint.named(str(model)), ("encoder_model.onnx", "decoder_model.onnx"), int8=False)
