"""A run's folder: files whole or not at all, and no run over another."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import dump, read_recipe, recipe_from
from llmkit.system.errors import UserError
from llmkit.system.files import to_json, write_whole
from llmkit.system.run_folder import LOCK, RunDir, hold, open_run, start
from llmkit.training.resuming import check_same_recipe, finished_run, same_batch

PRETRAIN = recipe_from(
    PretrainRecipe, {"name": "a", "corpus": {"path": "x"}, "model": {"config": {}}, "train": {"max_steps": 3}}
)
RECIPE = "name: a\ntrain: {max_steps: 3}\n"
ENVIRONMENT = {"data": {}, "processes": 1}


def cut(size: int, accumulated: int, evaluated: int = 32) -> PretrainRecipe:
    """The recipe in other pieces."""
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size")
    sizes = dict(zip(names, (size, accumulated, evaluated), strict=True))
    return PRETRAIN.model_copy(update={"train": PRETRAIN.train.model_copy(update=sizes)})


def stop_at(name: str) -> Callable[[Path, Path], Path]:
    """`Path.replace` until the file where the process is killed."""
    replace = Path.replace

    def stopping(file: Path, target: Path) -> Path:
        if target.name == name:
            raise KeyboardInterrupt
        return replace(file, target)

    return stopping


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestWriteWhole:
    def test_text_and_bytes(self, tmp_path: Path) -> None:
        write_whole(tmp_path / "a", "Zürich\n")
        write_whole(tmp_path / "b", b"\x00\xff")
        assert (tmp_path / "a").read_text(encoding="utf-8") == "Zürich\n"
        assert (tmp_path / "b").read_bytes() == b"\x00\xff"
        assert names(tmp_path) == ["a", "b"]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_failing_write_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        path = tmp_path / "a"
        write_whole(path, "old")

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
        with pytest.raises(OSError, match="No space left"):
            write_whole(path, "new and longer")
        assert path.read_text(encoding="utf-8") == "old"
        assert names(tmp_path) == ["a"]

    def test_an_interrupted_write_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_whole(tmp_path / "a", "new")
        assert names(tmp_path) == []

    def test_it_is_on_the_disk_before_it_has_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[list[str]] = []
        real = os.fsync

        def watch(descriptor: int) -> None:
            real(descriptor)
            seen.append(names(tmp_path))

        monkeypatch.setattr(os, "fsync", watch)
        write_whole(tmp_path / "a", "text")
        assert len(seen) == 1
        assert "a" not in seen[0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_has_no_nan(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json({"score": value})


class TestOpening:
    def test_a_new_folder_is_not_made_yet(self, tmp_path: Path) -> None:
        run = open_run(tmp_path / "a" / "b", resume=False)
        assert run.path == tmp_path / "a" / "b"
        assert names(tmp_path) == []

    def test_an_empty_folder_will_do(self, tmp_path: Path) -> None:
        assert open_run(tmp_path, resume=False).path == tmp_path

    def test_starting_writes_what_the_run_is_told(self, tmp_path: Path) -> None:
        run = open_run(tmp_path / "a" / "b", resume=False)
        start(run, RECIPE, {"processes": 1})
        assert names(run.path) == ["env.json", "recipe.yaml"]
        assert run.recipe() == {"name": "a", "train": {"max_steps": 3}}
        assert json.loads((run.path / "env.json").read_text(encoding="utf-8")) == {"processes": 1}
        assert not run.finished
        assert run.null_threshold() is None

    def test_a_folder_with_anything_in_it_is_in_use(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        with pytest.raises(UserError, match="is in use") as caught:
            open_run(tmp_path, resume=False)
        assert "--resume" not in caught.value.remedy
        assert "-o" in caught.value.remedy

    def test_a_file_is_in_use(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        with pytest.raises(UserError, match="is in use"):
            open_run(tmp_path / "a", resume=False)

    def test_a_stopped_run_is_offered_to_be_resumed(self, tmp_path: Path) -> None:
        start(RunDir(tmp_path), RECIPE, {})
        with pytest.raises(UserError, match="is in use") as caught:
            open_run(tmp_path, resume=False)
        assert "--resume" in caught.value.remedy

    @pytest.mark.parametrize("resume", [True, False])
    def test_a_finished_run_is_never_written_over(self, tmp_path: Path, resume: bool) -> None:
        start(RunDir(tmp_path), RECIPE, {})
        RunDir(tmp_path).write_json("metrics.json", {"f1": 1.0})
        with pytest.raises(UserError, match="holds a finished run") as caught:
            open_run(tmp_path, resume=resume)
        assert "another folder" in caught.value.remedy

    @pytest.mark.parametrize("resume", [True, False])
    def test_a_run_that_was_killed_while_it_started_starts(
        self, tmp_path: Path, resume: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before and after each file that the start writes: its folder and lock, then env.json, then recipe.yaml."""
        assert not open_run(tmp_path / "a", resume=resume).started
        run = RunDir(tmp_path)
        run.checkpoints.mkdir()
        (tmp_path / LOCK).touch()
        assert not open_run(tmp_path, resume=resume).started
        for killed_in in ("env.json", "recipe.yaml"):
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", stop_at(killed_in))
                patch.setattr(Path, "unlink", lambda *_, **__: None)  # nothing is tidied up after a SIGKILL
                with pytest.raises(KeyboardInterrupt):
                    start(run, RECIPE, ENVIRONMENT)
            assert list(tmp_path.glob(f".{killed_in}.*.partial"))
            assert not open_run(tmp_path, resume=resume).started
        start(run, RECIPE, ENVIRONMENT)
        assert open_run(tmp_path, resume=True).started

    @pytest.mark.parametrize("resume", [True, False])
    def test_an_environment_of_somebody_else_is_in_use(self, tmp_path: Path, resume: bool) -> None:
        (tmp_path / "env.json").write_text('{"PATH": "/usr/bin"}')
        with pytest.raises(UserError, match="is in use"):
            open_run(tmp_path, resume=resume)

    def test_the_same_recipe_resumes_however_it_is_written(self, tmp_path: Path) -> None:
        written_otherwise = yaml.safe_dump(yaml.safe_load(dump(PRETRAIN)), default_flow_style=True)
        assert written_otherwise != dump(PRETRAIN)
        start(RunDir(tmp_path), written_otherwise, ENVIRONMENT)
        check_same_recipe(RunDir(tmp_path), PRETRAIN, 1)

    def test_a_key_that_an_older_version_did_not_know_is_its_default(self, tmp_path: Path) -> None:
        values = yaml.safe_load(dump(PRETRAIN))
        del values["train"]["torch_compile"]
        start(RunDir(tmp_path), yaml.safe_dump(values), ENVIRONMENT)
        check_same_recipe(RunDir(tmp_path), PRETRAIN, 1)
        compiled = PRETRAIN.model_copy(update={"train": PRETRAIN.train.model_copy(update={"torch_compile": True})})
        with pytest.raises(UserError, match=r"train\.torch_compile was False, is True"):
            check_same_recipe(RunDir(tmp_path), compiled, 1)

    def test_an_older_run_is_evaluated_to_its_end_with_the_masks_of_its_training(self, tmp_path: Path) -> None:
        values = yaml.safe_load(dump(PRETRAIN))
        del values["corpus"]["eval_mlm_probability"]
        start(RunDir(tmp_path), yaml.safe_dump(values), ENVIRONMENT)
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
        given = read_recipe(PretrainRecipe, str(tmp_path / "mine.yaml"))
        assert given.corpus.eval_mlm_probability == 0.15
        resumed = check_same_recipe(RunDir(tmp_path), given, 1)
        assert resumed.corpus.eval_mlm_probability is None
        assert dump(resumed) == dump(given).replace("  eval_mlm_probability: 0.15\n", ""), "an older run it stays"
        asked = read_recipe(PretrainRecipe, str(tmp_path / "mine.yaml"), ["corpus.eval_mlm_probability=0.15"])
        with pytest.raises(UserError, match=r"corpus\.eval_mlm_probability was None, is 0\.15"):
            check_same_recipe(RunDir(tmp_path), asked, 1)

    def test_another_recipe_does_not_resume_and_the_difference_is_told(self, tmp_path: Path) -> None:
        start(RunDir(tmp_path), dump(PRETRAIN).replace("max_steps: 3", "max_steps: 4"), ENVIRONMENT)
        with pytest.raises(UserError, match=r"train\.max_steps was 4, is 3") as caught:
            check_same_recipe(RunDir(tmp_path), PRETRAIN, 1)
        assert f"-r {tmp_path / 'recipe.yaml'}" in caught.value.remedy
        start(RunDir(tmp_path), dump(PRETRAIN) + "forgotten: 1\n", ENVIRONMENT)
        with pytest.raises(UserError, match=r"forgotten was 1, is None"):
            check_same_recipe(RunDir(tmp_path), PRETRAIN, 1)

    @pytest.mark.parametrize(
        ("before", "given", "used"),
        [
            ((8, 4, 16), (32, 1, 32), (8, 4, 16)),  # the run came to take smaller pieces
            ((32, 1, 32), (8, 4, 16), (8, 4, 16)),  # it is to take them from now on
            ((8, 4, 32), (16, 2, 16), (8, 4, 16)),
            ((8, 4, 32), (8, 2, 32), None),  # another batch
            ((8, 4, 32), (16, 4, 32), None),
        ],
    )
    def test_a_run_goes_on_in_the_smaller_pieces_of_the_same_batch(
        self,
        tmp_path: Path,
        before: tuple[int, int, int],
        given: tuple[int, int, int],
        used: tuple[int, int, int] | None,
    ) -> None:
        start(RunDir(tmp_path), dump(cut(*before)), ENVIRONMENT)
        if used is None:
            with pytest.raises(UserError, match="another recipe"):
                check_same_recipe(RunDir(tmp_path), cut(*given), 1)
        else:
            assert check_same_recipe(RunDir(tmp_path), cut(*given), 1) == cut(*used)

    def test_on_other_processes_the_command_of_the_start_or_one_that_makes_the_same_batch(self, tmp_path: Path) -> None:
        start(RunDir(tmp_path), dump(cut(4, 1)), {**ENVIRONMENT, "processes": 3})
        for given in (cut(4, 1), cut(12, 1), cut(4, 3), cut(6, 2)):
            assert check_same_recipe(RunDir(tmp_path), given, 1) == cut(4, 1)
        assert check_same_recipe(RunDir(tmp_path), cut(2, 6), 1) == cut(2, 2)
        for given in (cut(4, 2), cut(8, 1), cut(5, 1)):
            with pytest.raises(UserError, match="another recipe"):
                check_same_recipe(RunDir(tmp_path), given, 1)

    @pytest.mark.parametrize(
        ("before", "now", "sizes"),
        [
            (3, 1, (4, 3)),  # 4 × 1 × 3 are 12 examples
            (3, 2, (3, 2)),
            (3, 3, (4, 1)),
            (3, 6, (2, 1)),
            (3, 12, (1, 1)),
            (3, 5, "5 processes cannot share the run's batch of 12 examples evenly"),
        ],
    )
    def test_the_batch_stays_the_same_on_other_processes(self, before: int, now: int, sizes: Any) -> None:
        if isinstance(sizes, str):
            with pytest.raises(UserError, match=sizes) as caught:
                same_batch(cut(4, 1).train, before, now)
            assert caught.value.remedy.endswith(": 1, 2, 3, 4, 6")
        else:
            assert same_batch(cut(4, 1).train, before, now) == cut(*sizes).train

    def test_a_finished_run_of_the_recipe(self, tmp_path: Path) -> None:
        run = RunDir(tmp_path)
        assert finished_run(PRETRAIN, tmp_path, 1) is None
        start(run, dump(PRETRAIN), ENVIRONMENT)
        assert finished_run(PRETRAIN, tmp_path, 1) is None
        run.write_json("metrics.json", {})
        assert finished_run(PRETRAIN, tmp_path, 2) == run
        with pytest.raises(UserError, match="another recipe"):
            finished_run(cut(7, 1), tmp_path, 1)

    @pytest.mark.parametrize("content", [b"- a\n", b"", b"a: [", b"\xff"])
    def test_a_damaged_recipe(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "recipe.yaml").write_bytes(content)
        with pytest.raises(UserError, match=r"recipe\.yaml: not"):
            RunDir(tmp_path).recipe()

    def test_a_place_below_a_file_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="cannot write to") as caught:
            start(RunDir(tmp_path / "file" / "run"), RECIPE, {})
        assert "-o" in caught.value.remedy


class TestLog:
    def test_what_came_after_a_step_is_forgotten(self, tmp_path: Path) -> None:
        run = RunDir(tmp_path)
        run.trim_log(3)
        assert (tmp_path / "log.jsonl").read_text() == ""
        for step in (1, 2, 3, 3, 4):
            run.log({"step": step})
        with (tmp_path / "log.jsonl").open("a") as file:
            file.write('{"step": 2, "lo')  # where a run was killed
        run.trim_log(3)
        run.log({"step": 4, "loss": 1.5})
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 3, 4]


class TestWriting:
    def test_lines_of_json(self, tmp_path: Path) -> None:
        run = RunDir(tmp_path)
        run.write_jsonl("predictions.jsonl", [{"id": "é"}, {"id": "2"}])
        assert (tmp_path / "predictions.jsonl").read_text(encoding="utf-8") == '{"id": "é"}\n{"id": "2"}\n'

    def test_the_log_grows(self, tmp_path: Path) -> None:
        run = RunDir(tmp_path)
        run.log({"step": 1})
        run.log({"step": 2})
        assert (tmp_path / "log.jsonl").read_text(encoding="utf-8") == '{"step": 1}\n{"step": 2}\n'

    @pytest.mark.parametrize(
        ("metrics", "threshold"), [({}, None), ({"tuned": None}, None), ({"tuned": {"null_threshold": -1.5}}, -1.5)]
    )
    def test_the_tuned_null_threshold(self, tmp_path: Path, metrics: object, threshold: float | None) -> None:
        run = RunDir(tmp_path)
        run.write_json("metrics.json", metrics)
        assert run.null_threshold() == threshold

    @pytest.mark.parametrize("content", ["{", "[1]", '{"tuned": {"f1": 1}}', '{"tuned": 3}'])
    def test_damaged_scores(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "metrics.json").write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=r"metrics\.json is damaged") as caught:
            RunDir(tmp_path).null_threshold()
        assert caught.value.remedy


def test_a_run_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    start(RunDir(tmp_path), RECIPE, {})
    code = "import time; from pathlib import Path; from llmkit.system.run_folder import RunDir, hold\n"
    code += "with hold(RunDir(Path())): print('held', flush=True); time.sleep(100)"
    writer = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="is being written by another command"), hold(RunDir(tmp_path)):
        pass
    writer.kill()
    writer.wait()
    # A lock does not outlive who held it, killed or not.
    with hold(RunDir(tmp_path)):
        pass
    assert LOCK not in names(tmp_path)
