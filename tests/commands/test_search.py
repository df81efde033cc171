"""`llmkit search`: trials that are ordinary runs, ended early or not, and the same whatever stops the search."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from support import Command
from support.runs import command, run_command, weights

from llmkit.commands import sampling
from llmkit.training.trainer import Trainer

RANGES = ["train.learning_rate=1e-4..1e-2", "train.per_device_train_batch_size=4,8"]


TRIALS = 5


@pytest.fixture(scope="session")
def searched(runs: Path) -> list[str]:
    """A search of trials of six steps and three evaluations, without its ranges and output."""
    data = [f"data.{split}={runs / 'squad.jsonl'}" for split in ("train", "validation")]
    model = f"model.pretrained={runs / 'runs' / 'bert'}"
    return ["search", "-r", "tiny/squad", "name=squad", model, *data, "train.max_steps=6", "train.eval_steps=2"]


@pytest.fixture
def _early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trials end early from the second on."""
    monkeypatch.setattr(sampling, "UNPRUNED_TRIALS", 1)


@pytest.fixture(scope="session")
def whole(searched: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that nothing happened to, in which some trials ended early. Not to be changed."""
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "UNPRUNED_TRIALS", 1)
        command(folder, *searched, *RANGES, "--trials", str(TRIALS), "-o", "s")
    return folder / "s"


def trials_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def run_of(folder: Path, trial: dict[str, Any]) -> Path:
    return folder / "trials" / f"{trial['number']:04d}"


def same(folder: Path, other: Path) -> bool:
    """Whether two searches made the same trials, to the bits of their weights."""
    trials = trials_of(folder)
    finished = [trial for trial in trials if trial["state"] == "finished"]
    equal = [weights(run_of(folder, trial)) == weights(run_of(other, trial)) for trial in finished]
    return trials == trials_of(other) and all(equal)


def test_trials_are_runs(whole: Path) -> None:
    trials = trials_of(whole)
    assert [trial["number"] for trial in trials] == [1, 2, 3, 4, 5]
    assert {trial["state"] for trial in trials} == {"finished", "pruned"}
    for trial in trials:
        run = run_of(whole, trial)
        recipe = (run / "recipe.yaml").read_text()
        assert f"learning_rate: {trial['values']['train.learning_rate']}\n" in recipe
        log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        evaluated = [[line["step"], line["eval_f1"]] for line in log if "eval_f1" in line]
        assert trial["evaluations"] == evaluated
        if trial["state"] == "finished":
            score = json.loads((run / "metrics.json").read_text())["f1"]
            assert trial["score"] == score == max(score for _, score in evaluated)
        else:
            assert not (run / "metrics.json").exists()
            assert (run / "checkpoints" / f"checkpoint-{evaluated[-1][0]}").is_dir(), "what it came to is saved"
            assert evaluated[-1][0] < 6


@pytest.mark.usefixtures("_early")
def test_the_best_one_is_a_recipe(llmkit: Command, searched: list[str], whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "s")
    code, out, err = llmkit(*searched, *RANGES, "--trials", str(TRIALS), "-o", "s", "--resume")
    assert (code, "training:" in err) == (0, False), "nothing is left to do"
    best = max((trial for trial in trials_of(whole) if trial["score"]), key=lambda trial: trial["score"])
    assert out.splitlines()[0] == "s, 5 trials"
    rows = {int(line.split()[0]): line for line in out.splitlines()[2:7]}
    assert rows[best["number"]].split()[-1] == "best"
    assert f"its run: s/trials/{best['number']:04d}" in out

    code, _, err = llmkit("finetune", "-r", "s/best.yaml", "-o", "again")
    assert code == 0, err
    assert weights(tmp_path / "again") == weights(run_of(whole, best))


@pytest.mark.usefixtures("_early")
def test_stopped_it_goes_on_as_if_nothing_had_happened(
    llmkit: Command, searched: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen = Trainer.training_step, [0]

    def stopping(self: Trainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        seen[0] += 1
        if seen[0] in (8, 15):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", stopping)
        code, _, err = llmkit(*searched, *RANGES, "--trials", "4", "-o", "s")
        assert code == 143
        assert "Continue with the same command and --resume -o s.\n" in err
        code, _, err = llmkit(*searched, *RANGES, "--trials", "4", "-o", "s", "--resume")
        assert (code, "resuming from s/trials/" in err) == (143, True)
    code, out, err = llmkit(*searched, *RANGES, "--trials", str(TRIALS), "-o", "s", "--resume", "--json")
    assert code == 0, err
    assert same(tmp_path / "s", whole), "and with more trials than it had"
    assert json.loads(out)["recipe"] == "s/best.yaml"


def forget(folder: Path, trial: dict[str, Any]) -> None:
    """Let the search know of this trial only that it was begun."""
    begun = {"number": trial["number"], "values": trial["values"]}
    known = [*trials_of(folder)[: trial["number"] - 1], begun]
    (folder / "trials.jsonl").write_text("".join(json.dumps(one) + "\n" for one in known))


@pytest.mark.usefixtures("_early")
@pytest.mark.parametrize("state", ["finished", "pruned"])
def test_what_a_kill_leaves_unrecorded_is_not_done_again(
    state: str, llmkit: Command, searched: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    trial = [trial for trial in trials_of(whole) if trial["state"] == state][-1]
    forget(folder, trial)
    trained: list[int] = []
    monkeypatch.setattr(Trainer, "training_step", lambda *_: trained.append(1))
    code, _, err = llmkit(*searched, *RANGES, "--trials", str(trial["number"]), "-o", "s", "--resume")
    assert (code, trained) == (0, []), err
    assert trials_of(folder) == trials_of(whole)[: trial["number"]]


def test_no_trial_is_given_up_in_its_first_quarter(
    llmkit: Command, searched: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.commands.search.falls_behind", lambda *_, **__: True)
    code, _, err = llmkit(*searched, "train.eval_steps=1", *RANGES, "--trials", "1", "-o", "s")
    assert (code, "none of 1 trials came to its end" in err) == (1, True), err
    (trial,) = trials_of(tmp_path / "s")
    assert [step for step, _ in trial["evaluations"]] == [1, 2], "of six steps"


def test_no_trial_is_given_up_at_its_end(
    llmkit: Command, searched: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.commands.search.falls_behind", lambda _, trials, scores, **__: len(scores) == 3)
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    trial = [trial for trial in trials_of(whole) if trial["state"] == "finished"][-1]
    forget(folder, trial)
    (run_of(folder, trial) / "metrics.json").unlink()  # killed after its last evaluation
    code, _, err = llmkit(*searched, *RANGES, "--trials", str(trial["number"]), "-o", "s", "--resume")
    assert code == 0, err
    assert trials_of(folder) == trials_of(whole)[: trial["number"]]


def test_a_trial_that_diverges_is_one_of_many(
    llmkit: Command, searched: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.training_step

    def fragile(self: Trainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = step(self, *args, **kwargs)
        return loss * float("nan") if self.args.learning_rate > 2e-3 else loss

    monkeypatch.setattr(Trainer, "training_step", fragile)
    code, _, err = llmkit(*searched, "train.learning_rate=1e-3,5e-3", "--trials", "2", "-o", "s")
    assert code == 0, err
    assert sorted((trial["values"]["train.learning_rate"], trial["state"]) for trial in trials_of(tmp_path / "s")) == [
        (1e-3, "finished"),
        (5e-3, "diverged"),
    ]
    assert "the loss or its gradient is not finite" in err
    code, _, err = llmkit(*searched, "train.learning_rate=4e-3,5e-3", "--trials", "2", "-o", "none")
    assert (code, "none of 2 trials came to its end" in err) == (1, True)


def test_pretraining_is_searched_by_its_loss(llmkit: Command, runs: Path, tmp_path: Path) -> None:
    recipe = runs / "runs" / "bert" / "recipe.yaml"
    source = f"corpus.sources=[{{path: {runs / 'books.txt'}, documents: blank_line}}]"
    code, out, err = llmkit(
        *("search", "-r", str(recipe), source, "train.learning_rate=1e-4,1e-2", "--trials", "2", "-o", "s", "--json")
    )
    assert code == 0, err
    found = json.loads(out)
    assert (found["metric"], found["maximize"]) == ("loss", False)
    best = min(found["trials"], key=lambda trial: trial["score"])
    assert found["best"] == best["number"]
    assert best["values"] == {"train.learning_rate": 1e-2}


def test_all_that_is_wrong_is_said_before_the_first_trial(
    llmkit: Command, searched: list[str], tmp_path: Path, runs: Path
) -> None:
    def refused(*arguments: str) -> str:
        given = {argument.partition("=")[0] for argument in arguments}
        others = [word for word in searched if word.partition("=")[0] not in given]
        code, _, err = llmkit(*others, *arguments, "-o", "s")
        assert code == 1, err
        assert not (tmp_path / "s").exists()
        return err

    assert "nothing to search: no key has a range or several values" in refused()
    assert "train.learning_rate: should be less than 1, got 2" in refused("train.learning_rate=1e-3..2")
    assert "train.seed is not searched: the best of several seeds is luck" in refused("train.seed=1..5")
    assert "data.revision is not searched" in refused("data.revision=a,b", *RANGES)
    assert "20 trials, and only 2 combinations of values" in refused("train.optim=adamw,muon")
    found = refused(
        f"model.pretrained={runs / 'runs' / 'bert'},nowhere", "data.max_length=64..100000", "train.optim=adamw,muon"
    )
    assert "nowhere" in found
    assert "100000" in found


def test_another_search_does_not_go_on_in_its_folder(
    llmkit: Command, searched: list[str], whole: Path, tmp_path: Path
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code, _, err = llmkit(*searched, *arguments, "--trials", "5", "-o", "s")
        return code, err

    shutil.copytree(whole, tmp_path / "s")
    code, err = run(*RANGES)
    assert (code, "s is in use" in err) == (1, True)
    code, err = run("train.learning_rate=1e-4..1e-3", RANGES[1], "train.weight_decay=0.1", "--resume")
    assert code == 1
    assert "space.train.learning_rate was '1e-4..1e-2', is '1e-4..1e-3'" in err
    assert "recipe.train.weight_decay was 0.0, is 0.1" in err
    code, _, err = llmkit(*searched, *RANGES, "-o", "s/trials/0001")
    assert (code, "s/trials/0001 holds a run" in err) == (1, True)


def test_a_dry_run_counts_the_trials(llmkit: Command, searched: list[str], tmp_path: Path) -> None:
    code, _, err = llmkit(*searched, *RANGES, "--trials", "7", "-o", "s", "--dry-run")
    assert code == 0, err
    assert "7 such runs, one after another: " in err
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
@pytest.mark.parametrize("chance", [random.Random(seed) for seed in range(3)])
def test_killed_twice_at_random(chance: random.Random, searched: list[str], whole: Path, tmp_path: Path) -> None:
    arguments = [*searched, *RANGES, "--trials", str(TRIALS), "-o", "s", "--resume"]
    program = (
        "from llmkit.commands import sampling; sampling.UNPRUNED_TRIALS = 1; from llmkit.cli.main import main; main()"
    )
    for _ in range(2):
        before = (tmp_path / "s" / "trials.jsonl").stat().st_mtime_ns if (tmp_path / "s").is_dir() else 0
        process = psutil.Popen(
            [sys.executable, "-c", program, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while not (file := tmp_path / "s" / "trials.jsonl").is_file() or file.stat().st_mtime_ns == before:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.001)
        time.sleep(chance.random() * 2)
        process.kill()
        process.wait()
        process.stderr.close()
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert same(tmp_path / "s", whole)


@pytest.mark.slow
def test_on_two_processes(searched: list[str], tmp_path: Path) -> None:
    ranges = ["train.learning_rate=1e-3,1e-2", "train.per_device_train_batch_size=2,4"]
    run_command(*searched, *ranges, "--trials", "4", "-o", "s", "-n", "2", cwd=tmp_path)
    trials = trials_of(tmp_path / "s")
    assert [trial["state"] for trial in trials] == ["finished"] * 4
    assert len({json.dumps(trial["values"]) for trial in trials}) == 4
    best = max(trials, key=lambda trial: trial["score"])
    run_command("finetune", "-r", "s/best.yaml", "-o", "again", "-n", "2", cwd=tmp_path)
    assert weights(tmp_path / "again") == weights(run_of(tmp_path / "s", best))
