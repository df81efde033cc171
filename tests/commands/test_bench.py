"""`llmkit bench`: cells that are ordinary series of runs, goes on after a kill, and one table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command
from support.hub import StandInHub
from support.hub_process import command, in_one_process
from support.hub_repos import add_bert, add_conll2003, add_glue, add_squad, add_squad_v2
from support.tasks import letters
from transformers import BertConfig, BertForMaskedLM

from llmkit import api
from llmkit.commands import seeds
from llmkit.evidence.bench_tasks import SUITE
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir

SHAPE: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TASKS = ("cola", "sst2")
COUNT = 24  # examples of a split


def checkpoint(folder: Path, seed: int, positions: int = 128) -> None:
    """A model of a few thousand random weights."""
    tokenizer = letters()
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=positions, **SHAPE)
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models `one` and `two`, and `data` with two tasks."""
    folder = tmp_path_factory.mktemp("bench")
    checkpoint(folder / "one", 1)
    checkpoint(folder / "two", 2)
    for task in TASKS:
        for split in ("train", "validation"):
            (folder / "data" / task).mkdir(parents=True, exist_ok=True)
            words = ("storm", "calm")
            rows = [{"sentence": f"{words[n % 2]} {chr(97 + n)} {split}", "label": (n % 3) % 2} for n in range(COUNT)]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "data" / task / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def models(material: Path) -> list[str]:
    return [str(material / "one"), str(material / "two")]


@pytest.fixture
def bench(material: Path) -> list[str]:
    """A bench of two models, without its output."""
    return ["bench", *models(material), "--data", str(material / "data")]


def metrics(folder: Path) -> dict[str, int]:
    """When each run of a bench was finished."""
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("metrics.json")}


def test_a_bench_that_was_killed_between_cells_goes_on(
    llmkit: Command, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ["bench", models(material)[0], "--data", str(material / "data"), "--seeds", "1"]
    code, out, err = llmkit(*bench, "-o", "whole", "--json")
    assert code == 0, err
    whole = json.loads(out)
    assert "cell 1 of 2  " in err
    assert f"mnli is left out: no {material}/data/mnli/train.* and no {material}/data/mnli/validation_matched.*" in err

    train, begun = seeds.train, []

    def killed(series: seeds.Series, *more: Any) -> dict[str, Any]:
        begun.append(series)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return train(series, *more)

    with monkeypatch.context() as patch:
        patch.setattr(seeds, "train", killed)
        code, _, err = llmkit(*bench, "-o", "killed")
        assert code == 130, err
    done = metrics(tmp_path / "killed")
    assert list(done) == ["one/cola/seed-42/metrics.json"]
    code, out, err = llmkit(*bench, "-o", "killed")
    assert code == 0, err
    assert "1 of 2 cells are finished" in err
    assert err.count("training: ") == 1, "the one that was done is not trained again"
    assert metrics(tmp_path / "killed").items() >= done.items()
    assert json.loads((tmp_path / "killed" / "bench.json").read_text()) == whole

    assert max(map(len, out.splitlines())) <= 100
    head, _, scores, *_ = out.splitlines()
    assert head == "killed: 1 seed, in percent, with 95 % intervals"
    assert scores.split()[:2] == ["mean", "of"]
    assert "without mrpc, stsb, qqp, mnli, qnli, rte, so not GLUE's mean" in err

    code, again, err = llmkit(*bench, "-o", "killed", "--json")
    assert (code, err.count("training: ")) == (0, 0)
    assert json.loads(again) == whole


def test_its_figures_are_those_of_compare(llmkit: Command, bench: list[str], material: Path, tmp_path: Path) -> None:
    code, out, err = llmkit(*bench, "-o", "bench", "--seeds", "2", "--only", "glue/sst2", "--json")
    assert code == 0, err
    found = json.loads(out)
    one, two = models(material)
    cells = [f"bench/{name}/sst2" for name in ("one", "two")]
    code, out, err = llmkit("compare", *cells, "--json")
    assert code == 0, err
    compared = json.loads(out)
    for model, cell in zip((one, two), cells, strict=True):
        assert found["scores"]["sst2"][model] == compared["scores"][cell]
        summary = json.loads((tmp_path / cell / "seeds.json").read_text())
        mean = found["glue_mean"]["scores"][model]
        assert mean["value"] == pytest.approx(summary["mean"]["accuracy"])
        assert mean["deviation"] == pytest.approx(summary["standard_deviation"]["accuracy"])
    (pair,), (other,) = found["differences"], compared["pairs"]
    assert {key: pair[key] for key in ("value", "interval", "bootstrap")} == {
        key: other[key] for key in ("value", "interval", "bootstrap")
    }


def test_it_is_a_function(material: Path, tmp_path: Path) -> None:
    model, folder = material / "one", tmp_path / "bench"
    found = api.bench(model, output=folder, data=material / "data", only=["sst2"], seeds=1)
    assert found == json.loads((folder / "bench.json").read_text())
    assert 0 <= found["scores"]["sst2"][str(model)]["accuracy"]["value"] <= 100
    done = metrics(folder)
    assert api.bench(model, output=folder, data=material / "data", only=["sst2"], seeds=1) == found
    assert metrics(folder) == done, "what is finished is not trained again"
    with pytest.raises(UserError, match="unknown task 'sst3'"):
        api.bench(model, output=folder, only=["sst3"])


def test_all_problems_are_told_before_anything_trains(
    llmkit: Command, bench: list[str], material: Path, tmp_path: Path
) -> None:
    code, _, err = llmkit(*bench, "-o", "bench", "--only", "cola,ssst2,foo")
    assert (code, "unknown task 'ssst2' (did you mean sst2?)" in err, "unknown task 'foo'" in err) == (1, True, True)
    code, _, err = llmkit(*bench, "-o", "bench", "--only", "cola,rte")
    assert (code, f"rte: no {material}/data/rte/train.*" in err) == (1, True), "a task that was named is wanted"
    code, _, err = llmkit("bench", "./none", *models(material), "./nor/this", "-o", "bench")
    assert (code, err.count("no such run or checkpoint")) == (1, 2)
    code, _, err = llmkit("bench", *models(material), models(material)[0], "-o", "bench")
    assert (code, "two models are named one" in err) == (1, True)

    data = tmp_path / "data"
    for task in (*TASKS, "squad"):
        (data / task).mkdir(parents=True)
    for split in ("train", "validation"):
        (data / "sst2" / f"{split}.jsonl").write_text('{"sentence": "calm", "label": 7}\n')
        (data / "cola" / f"{split}.jsonl").write_bytes((material / "data" / "cola" / f"{split}.jsonl").read_bytes())
        (data / "squad" / f"{split}.jsonl").write_text("{}\n")
    code, _, err = llmkit("bench", *models(material), "--data", str(data), "-o", "bench")
    assert code == 1
    assert err.count("sst2: ") == 1, "a problem of the data is told once"
    assert "one, squad: the model reads at most 128 tokens, and the recipe's inputs have up to 384" in err
    assert err.endswith("Correct these, or bench the others: --only cola.\n")
    assert not (tmp_path / "bench").exists()


def test_a_folder_of_something_else(llmkit: Command, bench: list[str], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    code, _, err = llmkit(*bench, "-o", "other")
    assert (code, "other is in use" in err) == (1, True)


def test_quick_is_another_bench(
    llmkit: Command, bench: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.commands.bench.QUICK", 8)
    del bench[2]  # one model is enough
    code, _, err = llmkit(*bench, "-o", "bench", "--quick", "--only", "cola")
    assert code == 0, err
    assert "Quick: the first 8 examples of each split. Not comparable with published scores." in err
    run = RunDir(tmp_path / "bench" / "one" / "cola" / "seed-42")
    assert run.recipe()["data"]["max_samples"] == 8
    assert len((run.path / "predictions.jsonl").read_text().splitlines()) == 8
    assert not (run.path.parent / "seed-43").exists()
    code, _, err = llmkit(*bench, "-o", "bench", "--only", "cola")
    assert (code, "was started with another recipe: data.max_samples was 8, is None" in err) == (1, True)


def test_the_help_names_every_task(llmkit: Command) -> None:
    _, out, _ = llmkit("bench", "--help")
    assert all(f"`{entry.name}`" in out for entry in SUITE)


@pytest.mark.slow
def test_killed_while_it_trains(bench: list[str], tmp_path: Path, llmkit: Command) -> None:
    arguments = [*bench, "--seeds", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *arguments, "-o", "killed"], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    while not list((tmp_path / "killed").glob("two/*/seed-42/checkpoints/checkpoint-*")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = metrics(tmp_path / "killed")
    assert done
    assert len(done) < 8
    for folder in ("killed", "whole"):
        code, _, err = llmkit(*arguments, "-o", folder)
        assert code == 0, err
    assert metrics(tmp_path / "killed").items() >= done.items()
    first, second = (json.loads((tmp_path / name / "bench.json").read_text()) for name in ("killed", "whole"))
    assert first == second


@pytest.mark.slow
def test_on_two_processes(bench: list[str], tmp_path: Path) -> None:
    from support.runs import run_command

    run_command(*bench, "--seeds", "1", "-o", "bench", "-n", "2", cwd=tmp_path)
    assert len(metrics(tmp_path / "bench")) == 4


@pytest.mark.slow
def test_the_whole_suite_from_the_hub(tmp_path: Path) -> None:
    """The repositories, configurations, splits and columns of the real datasets, with a few rows."""
    with StandInHub() as hub:
        for add in (add_bert, add_glue, add_squad, add_squad_v2, add_conll2003):
            add(hub)
        name = "google-bert/bert-base-uncased"
        step = command("bench", name, "-o", "bench", "--quick", "--json")
        ran = in_one_process(hub.environ(tmp_path / "hf"), tmp_path, {"bench": step})["bench"]
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert list(found["scores"]) == [entry.name for entry in SUITE]
    assert {task: list(of[name]) for task, of in found["scores"].items()} == {
        entry.name: list(entry.scores) for entry in SUITE
    }
    assert len(found["glue_mean"]["of"]) == 8
    assert (tmp_path / "bench" / "google-bert--bert-base-uncased" / "conll2003" / "seeds.json").is_file()
