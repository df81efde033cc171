"""`llmkit audit`: robustness and fairness of runs, and of a masked language model with the Hub's data or files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import Command
from support.hub import StandInHub
from support.hub_process import command, in_one_process
from support.hub_repos import add_crows_pairs, add_stereoset
from support.stereotypes import small_masked_lm, write_stereotypes
from support.tasks import letters

PARTS = ("--part", "robustness", "--part", "fairness")


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "lm"
    small_masked_lm().save_pretrained(folder)
    letters().save_pretrained(folder)
    return folder


def test_a_fine_tuned_run(runs: Path, finished_run: Path, llmkit: Command) -> None:
    data = str(runs / "squad.jsonl")
    code, out, err = llmkit("audit", str(finished_run), *PARTS, "--data", data, "--examples", "12")
    assert code == 0, err
    for what in ("typos", "question word", "men", "women", "African American"):
        assert what in out
    assert "12 of 24 questions were looked at" in err
    written = json.loads((finished_run / "audit.json").read_text())["parts"]
    changes = {each["name"]: each for each in written["robustness"]["result"]["changes"]}
    assert changes["distractor"]["examples"] == 12
    assert changes["names"]["examples"] == 12
    traits = {each["trait"] for each in written["fairness"]["result"]["traits"]}
    assert traits == {"gender", "origin"}
    again, shown, _ = llmkit("audit", str(finished_run), *PARTS, "--data", data, "--examples", "12", "--json")
    assert again == 0
    parts = json.loads(shown)["parts"]
    assert parts["robustness"]["result"] == written["robustness"]["result"]
    assert parts["fairness"]["result"] == written["fairness"]["result"]


def test_a_masked_language_model_with_files(masked_lm: Path, llmkit: Command, tmp_path: Path) -> None:
    crows, stereo = write_stereotypes(tmp_path)
    code, out, err = llmkit("audit", str(masked_lm), "--crows-pairs", str(crows), "--stereoset", str(stereo), "--json")
    assert code == 0, err
    assert "is not fine-tuned: its audit is fairness alone" in err
    result = json.loads(out)["parts"]["fairness"]["result"]
    assert result["crows_pairs"][0]["pairs"] == 20
    assert result["stereoset"][0]["sentences"] == 24


def test_a_model_without_a_masked_lm_head(finished_run: Path, llmkit: Command, tmp_path: Path) -> None:
    crows, stereo = write_stereotypes(tmp_path)
    (finished_run / "model" / "llmkit.json").unlink()
    files = ("--crows-pairs", str(crows), "--stereoset", str(stereo))
    code, _, err = llmkit("audit", str(finished_run / "model"), *files)
    assert code == 1
    assert "has no masked-LM head" in err


def test_robustness_of_a_masked_language_model(masked_lm: Path, llmkit: Command) -> None:
    code, _, err = llmkit("audit", str(masked_lm), "--part", "robustness")
    assert code == 1
    assert "there is no robustness of" in err


@pytest.mark.slow
def test_the_data_of_the_hub(masked_lm: Path, tmp_path: Path) -> None:
    crows, stereo = write_stereotypes(tmp_path)
    files = ("--crows-pairs", str(crows), "--stereoset", str(stereo))
    steps = {
        "hub": command("audit", str(masked_lm), "--json"),
        "files": command("audit", str(masked_lm), *files, "--json"),
    }
    with StandInHub() as hub:
        add_crows_pairs(hub)
        add_stereoset(hub)
        ran = in_one_process(hub.environ(tmp_path / "hf"), tmp_path, steps)
    assert ran["hub"].code == 0, ran["hub"].err
    found = {name: json.loads(each.out)["parts"]["fairness"]["result"] for name, each in ran.items()}
    assert found["hub"] == found["files"]
