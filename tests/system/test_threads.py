"""What llmkit sets of threads before torch is loaded, and what of it reaches the libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT
from support.runs import run_command, weights, write_demo_text

from llmkit.system import threads
from llmkit.system.cores import Cores
from llmkit.system.threads import COUNTS, OURS, SPINS, WAITING, describe, fit_threads

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="torch waits with libgomp on Linux alone")


@pytest.fixture(autouse=True)
def _as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set, and torch is not loaded."""
    for name in (*WAITING, *COUNTS, OURS, "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(threads, "cores", lambda: Cores(8, 8, 8, None))


def found() -> dict[str, str]:
    return {name: os.environ[name] for name in (*WAITING, *COUNTS) if name in os.environ}


def test_waiting_threads_give_way_and_the_libraries_count() -> None:
    fit_threads()
    assert found() == {"GOMP_SPINCOUNT": str(SPINS)}


@pytest.mark.parametrize(
    "settings", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"KMP_BLOCKTIME": "0"}, {"GOMP_SPINCOUNT": ""}]
)
def test_how_threads_wait_is_left_to_the_user(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    fit_threads()
    assert found() == settings


def test_nothing_is_set_where_it_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", pytest)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    fit_threads()
    assert found() == {}


def test_other_systems_have_no_libgomp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    fit_threads()
    assert found() == {}


@pytest.mark.parametrize(
    ("cores", "processes", "counts"),
    [
        (Cores(8, 8, 8, 2.5), None, ("3", "3")),
        (Cores(8, 8, 8, 8.0), None, None),
        (Cores(8, 8, 4, None), "2", ("2", "4")),  # tokenizers gain from both processors of a core
        (Cores(8, 8, 8, 2.5), "2", ("1", "1")),
        (Cores(8, 1, 1, None), "4", ("1", "1")),
        (Cores(8, 8, 8, None), "1", None),
    ],
)
def test_threads_fit_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: Cores, processes: str | None, counts: tuple[str, str] | None
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    fit_threads()
    assert found() == {"GOMP_SPINCOUNT": str(SPINS), **dict(zip(COUNTS, counts or (), strict=False))}


def test_threads_are_counted_anew_in_processes_that_llmkit_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: Cores(8, 8, 8, 6.0))
    monkeypatch.setenv("RAYON_NUM_THREADS", "5")
    fit_threads()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")  # as -n 3 leaves it
    fit_threads()
    assert found() == {"GOMP_SPINCOUNT": str(SPINS), "OMP_NUM_THREADS": "2", "RAYON_NUM_THREADS": "5"}
    monkeypatch.setenv("OMP_NUM_THREADS", "4")  # a user between the two
    fit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "4"


def test_what_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = describe()
    assert said["usable_cores"] == "8 of 8"
    assert (said["threads"], said["waiting_threads"]) == ("8 (one for each core)", "as torch was built")
    assert float(said["load"].split()[0]) >= 0
    monkeypatch.setattr(threads, "cores", lambda: Cores(8, 8, 8, 2.0))
    fit_threads()
    said = describe()
    assert said["threads"] == "2 (set by llmkit)"
    assert said["waiting_threads"] == f"sleep soon (GOMP_SPINCOUNT={SPINS}, set by llmkit)"
    monkeypatch.setenv("GOMP_SPINCOUNT", "9")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    said = describe()
    assert said["threads"] == "5 (from your environment)"
    assert said["waiting_threads"] == "as set (GOMP_SPINCOUNT=9, from your environment)"
    monkeypatch.delattr(os, "getloadavg")
    assert describe()["load"] == "unknown"


@ON_LINUX
def test_torch_reads_it() -> None:
    """libgomp prints what it read when it was loaded. So many processes share the cores that each has one thread."""
    environment = {**os.environ, "OMP_DISPLAY_ENV": "VERBOSE", "LOCAL_WORLD_SIZE": "1000"}
    command = [sys.executable, "-c", "import llmkit, torch; print(torch.get_num_threads())"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in done.stderr
    assert done.stdout == "1\n"


@ON_LINUX
@pytest.mark.slow
def test_weights_do_not_depend_on_how_threads_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = write_demo_text(tmp_path)
    run_command("tokenize", "-c", str(text), "-o", "shards", "tokenizer.vocab_size=400", cwd=tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = set()
    for spins in ("0", str(SPINS), "300000"):
        monkeypatch.setenv("GOMP_SPINCOUNT", spins)
        pretrain = ["pretrain", "-r", "tiny/pretrain", "corpus.path=shards", "train.max_steps=3"]
        run_command(*pretrain, "-o", f"run-{spins}", cwd=tmp_path)
        found.add(weights(tmp_path / f"run-{spins}"))
    assert len(found) == 1


@ON_LINUX
@pytest.mark.slow
def test_the_benchmark_runs() -> None:
    command = [sys.executable, "benchmarks/busy.py", "--rounds", "1", "--seconds", "0", "--shape", "3 × 128"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("| 3 × 128 |") == 3
