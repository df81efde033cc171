"""`llmkit push` without the Hub: what would be published, and what cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from support import Command

from llmkit.sharing.model_card import card_of
from llmkit.system.run_folder import RunDir

pytestmark = pytest.mark.oldest

NAME = "jane/answerer"
PARTS = {"config.json", "llmkit.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_a_dry_run_shows_what_would_be_published(finished_run: Path, llmkit: Command) -> None:
    (finished_run / "model" / "notes.txt").write_text("mine")
    (finished_run / "model" / "training_args.bin").write_bytes(b"pickle")
    (finished_run / "model" / "onnx").mkdir()
    (finished_run / "model" / "onnx" / "config.json").write_text("{}")
    code, out, err = llmkit("push", str(finished_run), NAME, "--dry-run")
    assert code == 0
    shown, _, card = out.partition("\n\n")
    assert f"{NAME}: " in shown
    assert {line.split()[0] for line in shown.splitlines()[2:]} == {*PARTS, "README.md"}
    size = (finished_run / "model" / "model.safetensors").stat().st_size
    assert f"{size:,}" in shown
    assert err == "warning: not uploaded (not part of the model): notes.txt, onnx/config.json, training_args.bin\n"
    assert ModelCard(card).data.pipeline_tag == "question-answering"
    assert f'name = "{NAME}"' in card
    assert "NAMESPACE" not in card


def test_an_edited_card_is_published_as_it_is(finished_run: Path, llmkit: Command) -> None:
    card = finished_run / "model" / "README.md"
    before = card.read_text(encoding="utf-8")
    card.write_text(before.replace("library_name", "license: mit\nlibrary_name") + "\nMine, NAMESPACE/NAME.\n")
    _, out, _ = llmkit("push", str(finished_run), NAME, "--dry-run")
    assert out.endswith(f"Mine, {NAME}.\n\n")
    assert "\nlicense: mit\n" in out
    card.unlink()
    _, out, _ = llmkit("push", str(finished_run), NAME, "--dry-run")
    assert out.partition("\n\n")[2] == card_of(RunDir(finished_run)).replace("NAMESPACE/NAME", NAME) + "\n"
    assert not card.exists(), "a push writes nothing here"


Damage = Callable[[Path], Any]
DAMAGES: dict[str, tuple[Damage, list[str], str, str]] = {
    "none there": (shutil.rmtree, [NAME], "no such run", "Check the path"),
    "not ended": (lambda r: (r / "metrics.json").unlink(), [NAME], "is not finished", "--resume -o"),
    "no recipe": (lambda r: (r / "recipe.yaml").unlink(), [NAME], "is not a run", "`hf upload`"),
    "no weights": (
        lambda r: (r / "model" / "model.safetensors").unlink(),
        [NAME],
        "model has no model.safetensors",
        "Restore the file",
    ),
    "no model": (
        lambda r: shutil.rmtree(r / "model"),
        [NAME],
        "has no config.json, model.safetensors",
        "Restore the file",
    ),
    "no facts": (
        lambda r: [(r / "model" / "README.md").unlink(), (r / "env.json").write_text("{}")],
        [NAME],
        "is damaged: 'command' is missing",
        "Restore the file",
    ),
    "broken facts": (
        lambda r: [(r / "model" / "README.md").unlink(), (r / "log.jsonl").write_text("{")],
        [NAME],
        "is damaged",
        "Restore the file",
    ),
    "card in Latin-1": (
        lambda r: (r / "model" / "README.md").write_bytes(b"\xe9"),
        [NAME],
        "README.md: not UTF-8",
        "iconv",
    ),
    "no namespace": (lambda r: None, ["answerer"], "it has no namespace", "NAMESPACE/NAME"),
    "bad name": (lambda r: None, ["jane/a--b"], "no -- or ..", "NAMESPACE/NAME"),
    "too much of a name": (lambda r: None, ["datasets/jane/a"], "is not a valid repository name", "NAMESPACE/NAME"),
    "offline": (lambda r: None, [NAME], "HF_HUB_OFFLINE is set", "Unset it"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_cannot_be_published(name: str, finished_run: Path, llmkit: Command) -> None:
    damage, arguments, problem, remedy = DAMAGES[name]
    damage(finished_run)
    code, out, err = llmkit("push", str(finished_run), *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert problem in err.splitlines()[0]
    assert remedy in err.splitlines()[1]
    assert len(err.splitlines()) == 2


def test_a_bare_checkpoint_is_no_run(finished_run: Path, llmkit: Command, tmp_path: Path) -> None:
    code, _, err = llmkit("push", str(finished_run / "model"), NAME)
    assert code == 1
    assert f"{finished_run / 'model'} is a checkpoint, without a record of its training" in err
    assert f"give the run itself: {finished_run}" in err.lower()
    shutil.move(finished_run / "model", tmp_path / "alone")
    _, _, err = llmkit("push", str(tmp_path / "alone"), NAME)
    assert "give the folder of a run" in err.lower()
