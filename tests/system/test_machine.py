"""What is found out about the machine, and what doctor makes of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import transformers

import llmkit
from llmkit.commands import doctor
from llmkit.system.cache import cache_folder
from llmkit.system.machine import choose, environment, give_memory_back, hardware, keep_memory, quiet, versions
from llmkit.system.threads import describe

pytestmark = pytest.mark.oldest


@pytest.mark.parametrize(
    ("avx512", "amx", "onednn"), [(False, False, True), (True, False, True), (False, True, True), (True, True, False)]
)
def test_bf16_is_chosen_where_the_processor_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, onednn: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    choice = choose("auto")
    assert choice.bf16 is ((avx512 or amx) and onednn)
    assert choice.threads == torch.get_num_threads()
    assert choice.why.endswith(
        "bf16 (supported by the hardware)" if choice.bf16 else "fp32 (no bf16 instructions here)"
    )
    for told in (True, False):
        assert choose(told).bf16 is told, "the recipe has the last word"


def test_a_server_keeps_few_shapes_before_torch_is_there() -> None:
    pytest.importorskip("fastapi")
    code = """
import os, sys
from unittest.mock import patch
from llmkit.cli.main import main

def loaded(name, *others):
    if name == "llmkit.commands" and "serve" in (others[2] or ()):
        print("torch" in sys.modules, os.environ["LRU_CACHE_CAPACITY"], os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])
        raise SystemExit
    return real(name, *others)

import builtins
real = builtins.__import__
sys.argv = ["llmkit", "serve", "model"]
with patch("builtins.__import__", loaded):
    main()
"""
    environment = os.environ | {"LRU_CACHE_CAPACITY": "7"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.split() == ["False", "7", "32"], done.stderr


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card 9000")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    choice = choose("auto")
    assert (choice.device, choice.bf16) == ("Card 9000", able)


@pytest.mark.parametrize("platform_name", ["darwin", "win32"])
def test_the_allocator_is_left_alone_where_it_is_not_glibc(monkeypatch: pytest.MonkeyPatch, platform_name: str) -> None:
    def refuse(_: None) -> None:
        raise AssertionError("no C library is opened here")

    monkeypatch.setattr(sys, "platform", platform_name)
    monkeypatch.setattr("llmkit.system.machine.ctypes.CDLL", refuse)
    keep_memory()
    give_memory_back()


def test_what_a_run_writes_down_of_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["llmkit", "pretrain"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = json.loads(json.dumps(environment({"train": "abc"}, {"train": {"examples": 3}})))
    assert found["command"] == ["llmkit", "pretrain"]
    assert found["processes"] == 2
    assert found["data"] == {"train": "abc"}
    assert found["versions"] == versions()
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["llmkit"] == llmkit.__version__
    assert found["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["hardware"] == hardware()
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_gb"] > 0


def test_a_machine_without_proc_still_has_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "open", nothing)
    assert hardware()["processor"] == platform.processor()


@pytest.mark.parametrize(("status", "state"), [(200, "reachable"), (503, "answers with status 503")])
def test_doctor_asks_the_hub_once(monkeypatch: pytest.MonkeyPatch, status: int, state: str) -> None:
    from huggingface_hub.utils import httpx

    asked: list[str] = []

    def get(url: str, timeout: float) -> Any:
        asked.append(url)
        assert 0 < timeout <= 10
        return httpx.Response(status, request=httpx.Request("GET", url))

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example/")
    monkeypatch.setattr(httpx, "get", get)
    assert dict(doctor.findings())["hub"] == {"endpoint": "http://mirror.example", "state": state}
    assert asked == ["http://mirror.example/api/models?limit=1"]


def test_doctor_shows_a_cache_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "not" / "there" / "yet"))
    found = dict(doctor.findings())
    assert found["cache"] == {"folder": str(cache_folder()), "writable": True}
    assert not (tmp_path / "not").exists(), "it looks and makes nothing"
    monkeypatch.setattr("llmkit.commands.doctor.os.access", lambda *_: False)
    doctor.show(doctor.findings())
    shown = capsys.readouterr().out
    assert "NOT writable: set LLMKIT_CACHE" in shown
    for name in (
        *versions(),
        *describe(),
        *(hardware().keys() - {"cores"}),  # shown with the threads
        "computing",
        "processes",
        "hub",
    ):
        assert f"\n{name} " in shown


def test_doctor_names_a_cache_whose_place_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "file" / "cache"))
    assert dict(doctor.findings())["cache"]["writable"] is False


QUIET = """
import datasets, logging
from transformers.utils.logging import get_verbosity, is_progress_bar_enabled
assert get_verbosity() == datasets.logging.get_verbosity() == logging.ERROR
assert not is_progress_bar_enabled()
assert datasets.are_progress_bars_disabled()
"""


@pytest.mark.slow
def test_libraries_are_quiet_that_are_imported_later() -> None:
    loud = {name: value for name, value in os.environ.items() if not name.endswith(("VERBOSITY", "PROGRESS_BARS"))}
    code = f"from llmkit.system.machine import quiet; quiet()\n{QUIET}"
    subprocess.run([sys.executable, "-c", code], check=True, env=loud)


def test_libraries_are_quiet_that_are_imported_already() -> None:
    datasets.logging.set_verbosity_info()
    datasets.enable_progress_bars()
    transformers.logging.set_verbosity_info()
    transformers.logging.enable_progress_bar()
    quiet()
    exec(QUIET)
