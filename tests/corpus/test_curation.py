"""The work of curating: its plan, and what becomes of it when a command or its processes fail."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest

pytest.importorskip("datatrove")  # the extra `scale`

from datatrove.executor import slurm

from llmkit.commands import curate as command
from llmkit.corpus import sources
from llmkit.corpus.curation.executors import run_shared, submit_to_slurm
from llmkit.corpus.curation.plan import Plan
from llmkit.corpus.curation.workers import Workers
from llmkit.corpus.sources import OpenSource, open_source
from llmkit.recipes.corpus import Source
from llmkit.recipes.curation import ContaminationSection, CurateRecipe, DuplicatesSection, SlurmSection
from llmkit.system.errors import UserError

DEMO = CurateRecipe(sources=[Source(path="demo")])
PARENT_AND_CHILD = """
import os, time
from llmkit.corpus.curation.workers import end_with
parent = os.getpid()
if os.fork() == 0:
    end_with(parent)
    time.sleep(60)
"""


def test_a_process_ends_with_the_command_that_started_it() -> None:
    command = [sys.executable, "-c", PARENT_AND_CHILD]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)  # waits for both
    assert "the command that started this process has gone" in done.stderr


def test_a_kill_while_the_folder_is_cleaned_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, done = tmp_path / "a.jsonl", []
    file.write_text('{"text": "a text"}\n')
    recipe = CurateRecipe(sources=[Source(path=str(file))], duplicates=DuplicatesSection(remove=False))

    def work(workers: Workers) -> None:
        done.append(1)
        run_shared(workers.plan, 0)

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Workers, "run", work)
    with monkeypatch.context() as patch:
        patch.setattr(command, "clean", killed)
        with pytest.raises(KeyboardInterrupt):
            command.curate(command.prepare(recipe, tmp_path / "out"))
    documents = command.curate(command.prepare(recipe, tmp_path / "out"))
    assert done == [1]
    assert documents is not None
    assert [path.name for path in documents.iterdir()] == ["00000.jsonl.zst"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"curation.json", "documents"}


def test_an_error_of_a_job_on_slurm_is_told_until_it_is_submitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, file = tmp_path / "bin", tmp_path / "a.jsonl"
    programs.mkdir()
    (programs / "sbatch").write_text("#!/bin/sh\n")
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    file.write_text('{"text": "a text"}\n')
    recipe = DEMO.model_copy(
        update={"sources": [Source(path=str(file))], "executor": "slurm", "slurm": SlurmSection(partition="cpu")}
    )
    prepared = command.prepare(recipe, tmp_path / "out")
    assert command.curate(prepared) is None
    (work,) = tmp_path.glob(".out.*.partial")
    (work / "error.json").write_text(json.dumps({"problems": ["a.jsonl:1: broken JSON"], "remedy": "correct it"}))
    for _ in range(2):
        with pytest.raises(UserError, match="broken JSON") as caught:
            command.curate(prepared)
        assert caught.value.remedy == f"correct it; then remove {work / 'submitted'} to submit again"
    (work / "submitted").unlink()
    for _ in range(2):
        assert command.curate(prepared) is None


def test_a_job_of_slurm_has_a_partition_and_the_quality_of_service_of_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, object]] = []
    monkeypatch.setattr(slurm.SlurmPipelineExecutor, "run", lambda self: given.append(self.get_sbatch_args()))
    recipe = CurateRecipe(sources=DEMO.sources, executor="slurm", slurm=SlurmSection(partition="cpu"))
    submit_to_slurm(Plan(tmp_path, [], [(0, range(1))], recipe))
    assert given[0]["partition"] == "cpu"
    assert "qos" not in given[0]


def test_a_process_with_another_working_folder_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text('{"text": "a text"}\n')
    plan = Plan.of(tmp_path, [open_source(Source(path="a.jsonl"))], DEMO)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert list(plan.documents(0)) == ["a text"]


def test_a_process_looks_at_the_files_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    monkeypatch.setattr(sources, "PART_BYTES", 1)
    plan, looks, parts = Plan.of(tmp_path, [open_source(Source(path=str(tmp_path)))], DEMO), [], OpenSource.parts
    monkeypatch.setattr(OpenSource, "parts", lambda self: looks.append(1) or parts(self))
    assert [text for task in range(3) for text in deepcopy(plan).documents(task)] == ["text 0", "text 1", "text 2"]
    assert looks == [1]
    assert list(pickle.loads(pickle.dumps(plan)).documents(2)) == ["text 2"]
    assert looks == [1, 1]


def test_unfinished_work_of_other_settings_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "a text"}\n')
    (tmp_path / f".out.x.{20 * '0'}.partial").mkdir()  # of another result

    def killed(_: Workers) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Workers, "run", killed)
    for similarity in (0.7, 0.8):
        recipe = CurateRecipe(sources=[Source(path=str(file))], duplicates=DuplicatesSection(similarity=similarity))
        assert "unfinished" not in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            command.curate(command.prepare(recipe, tmp_path / "out"))
        if similarity == 0.7:
            (first,) = tmp_path.glob(".out.[0-9a-f]*.partial")
    assert f"which may be removed: {first}\n" in capsys.readouterr().err


def test_evaluation_data_of_short_texts_alone_cannot_be_looked_for(tmp_path: Path) -> None:
    text, evaluation = tmp_path / "a.jsonl", tmp_path / "eval.jsonl"
    text.write_text('{"text": "a text"}\n')
    evaluation.write_text('{"text": "a question of seven words or so"}\n')
    recipe = CurateRecipe(sources=[Source(path=str(text))], contamination=ContaminationSection(files=[str(evaluation)]))
    with pytest.raises(UserError, match=r"no text in contamination.files has 13 words") as caught:
        command.curate(command.prepare(recipe, tmp_path / "out"))
    assert "contamination.words=8" in caught.value.remedy


def test_a_task_of_ray_notes_that_the_disk_is_full(tmp_path: Path) -> None:
    from llmkit.corpus.curation.on_ray import RayExecutor

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    plan = Plan(tmp_path, [], [(0, range(1))], DEMO)
    with pytest.raises(OSError, match="No space"):
        RayExecutor([full], plan, "filter")._run_for_rank(0)
    assert "No space left on device" in json.loads(plan.error.read_text())["problems"][0]
    assert plan.done("filter") == 0
