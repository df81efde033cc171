"""FSDP2 over several processes: the weights that they give without it, exact resume, a whole model in the end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from support.labels import reviews, write_rows
from support.runs import Material, weights
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from llmkit.training.checkpoints import SEAL
from llmkit.training.sharding import SHARDED_WEIGHTS

pytestmark = pytest.mark.slow

FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
STEPS = ["train.max_steps=10", "train.eval_steps=4", "train.logging_steps=1"]
STEPS += ["train.per_device_train_batch_size=4", "train.gradient_accumulation_steps=2"]
# Gradients that are nothing but rounding, such as that of a bias before a softmax, make no steps.
EPSILON = "train.adam_epsilon=1e-4"
KINDS = {
    "pretrain": AutoModelForMaskedLM,
    "bf16": AutoModelForMaskedLM,
    "muon": AutoModelForMaskedLM,
    "span": AutoModelForQuestionAnswering,
    "label": AutoModelForSequenceClassification,
    "number": AutoModelForSequenceClassification,
    "tags": AutoModelForTokenClassification,
    "text": AutoModelForSeq2SeqLM,
}
# The head for spans has two rows: the third process has no part in it. That for numbers has one. Muon's matrices have
# 32 and 64, which three processes share unevenly.
PROCESSES = {"span": 3, "muon": 3}
# As `accelerate config` writes it.
CONFIG = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  fsdp_state_dict_type: FULL_STATE_DICT
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_cpu_ram_efficient_loading: true
  fsdp_sync_module_states: true
  fsdp_offload_params: false
  fsdp_reshard_after_forward: true
mixed_precision: 'no'
num_machines: 1
num_processes: 2
machine_rank: 0
main_training_function: main
rdzv_backend: static
same_network: true
use_cpu: false
"""
# One process imports for all, and they are its copies. Each line of the input is a command.
PROCESSES_OF_COMMANDS = """
import json, os, sys, traceback
import llmkit.commands.finetune, llmkit.commands.pretrain
from llmkit.cli.main import main

for number, line in enumerate(sys.stdin):
    size, environment, arguments = json.loads(line)
    children = []
    environment |= {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_PORT": str(PORT + number)}
    for rank in range(size):
        children.append(os.fork())
        if children[-1] == 0:
            os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
            sys.argv = ["llmkit", *arguments]
            try:
                main()
            except BaseException:  # a command that ends well leaves by os._exit
                traceback.print_exc()
            os._exit(1)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * size, arguments
"""


def command(kind: str, material: Material, folder: Path, *, dropout: bool = False) -> list[str]:
    """A training command without its output."""
    shape = f"model.config={json.dumps({**SHAPE, **({} if dropout else NO_DROPOUT)})}"
    if kind in ("pretrain", "bf16", "muon"):
        corpus = [f"corpus.path={material.shards}", "corpus.block_size=32"]
        bf16 = f"train.bf16={json.dumps(kind == 'bf16')}"  # by itself it depends on the hardware
        optim = "train.optim=muon" if kind == "muon" else "train.optim=adamw"
        return ["pretrain", "-r", "tiny/pretrain", shape, bf16, optim, *corpus, *STEPS]
    model = [shape, f"model.tokenizer={material.shards / 'tokenizer'}", EPSILON]
    if kind == "span":
        return ["finetune", "-r", "tiny/squad", *model, *material.questions, *STEPS]
    if kind == "text":
        learned = ["train.max_steps=60", "train.eval_steps=30", "train.learning_rate=1e-2", EPSILON]
        rows = pairs(folder)
        return ["finetune", "-r", "tiny/translation", f"data.train={rows}", f"data.validation={rows}", *learned]
    if kind == "number":
        rows = write_rows(folder / "numbers.jsonl", reviews(48, (1990, 2020)))
        model += ["-r", "tiny/classification", "--task", "regression"]
    elif kind == "tags":
        places = [{"tokens": ["the", "sea", "at", "Ambury"], "ner_tags": ["O", "O", "O", "B-LOC"]}] * 48
        rows = write_rows(folder / "places.jsonl", [{"id": str(n), **row} for n, row in enumerate(places)])
        model += ["-r", "tiny/ner"]
    else:
        rows = write_rows(folder / "reviews.jsonl", reviews(48))
        model += ["-r", "tiny/classification"]
    return ["finetune", *model, f"data.train={rows}", f"data.validation={rows}", *STEPS]


def pairs(folder: Path) -> Path:
    """Texts to translate into one word or into ten, which a model learns soon: its processes write for unlike times."""
    texts = [("sea", "storm"), ("ship " * 9, "calm red " * 5)]
    return write_rows(
        folder / "pairs.jsonl", [{"translation": {"en": texts[n % 2][0], "de": texts[n % 2][1]}} for n in range(48)]
    )


def run_all(folder: Path, port: int, *runs: tuple[int, dict[str, str], list[str]]) -> None:
    """Run commands one after another, each in as many processes as it says, as if a launcher had started them."""
    done = subprocess.run(
        [sys.executable, "-c", PROCESSES_OF_COMMANDS.replace("PORT", str(port))],
        input="".join(json.dumps(run) + "\n" for run in runs),
        cwd=folder,
        env={**os.environ, "MASTER_ADDR": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def scores_of(run: Path) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return scores


def free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port: int = some.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def runs(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind, with and without sharding."""
    folder = tmp_path_factory.mktemp("sharded")
    commands = [
        (PROCESSES.get(kind, 2), environment, [*command(kind, material, folder), "-o", f"{kind}-{name}"])
        for kind in KINDS
        for name, environment in (("replicated", {}), ("sharded", FSDP2))
    ]
    run_all(folder, free_port(), *commands)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_are_those_of_replicas(kind: str, runs: Path) -> None:
    files = [runs / f"{kind}-{name}" / "model" / "model.safetensors" for name in ("replicated", "sharded")]
    replicated, sharded = map(load_file, files)
    assert replicated.keys() == sharded.keys()
    for name, weight in replicated.items():
        torch.testing.assert_close(sharded[name], weight, rtol=0, atol=1e-5, msg=name)
    scores = [scores_of(runs / f"{kind}-{name}") for name in ("replicated", "sharded")]
    numbers = [{name: value for name, value in found.items() if isinstance(value, float)} for found in scores]
    assert numbers[0]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)


def test_bf16_was_used(runs: Path) -> None:
    assert weights(runs / "bf16-sharded") != weights(runs / "pretrain-sharded")


def test_it_was_sharded(runs: Path) -> None:
    for kind in KINDS:
        assert list((runs / f"{kind}-sharded").glob(f"checkpoints/*/{SHARDED_WEIGHTS}"))
        assert not list((runs / f"{kind}-replicated").glob(f"checkpoints/*/{SHARDED_WEIGHTS}"))


@pytest.mark.parametrize(("kind", "auto"), KINDS.items())
def test_transformers_alone_loads_the_model(kind: str, auto: Any, runs: Path) -> None:
    loaded = [
        auto.from_pretrained(runs / f"{kind}-{name}" / "model", output_loading_info=True)
        for name in ("sharded", "replicated")
    ]
    (model, info), (_, usual) = loaded
    assert info == usual
    assert kind == "text" or not info["missing_keys"]
    assert model.config.architectures == [type(model).__name__]


@pytest.fixture(scope="module")
def resumed(material: Material, runs: Path) -> Path:
    """A folder with runs that lost what came after their second checkpoint, and its evaluation, and went on."""
    commands = []
    for kind in KINDS:
        whole, lost = runs / f"{kind}-sharded", runs / f"{kind}-resumed"
        shutil.copytree(whole, lost)
        (lost / "metrics.json").unlink()
        before, last = sorted((lost / "checkpoints").iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
        for made in (lost / "model", last):
            shutil.rmtree(made)
        path = before / SEAL
        path.write_text(json.dumps({**json.loads(path.read_text()), "evaluation_due": True}))
        again = [*command(kind, material, runs), "-o", lost.name, "--resume"]
        commands.append((PROCESSES.get(kind, 2), FSDP2, again))
    run_all(runs, free_port(), *commands)
    return runs


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_with_the_same_weights(kind: str, resumed: Path) -> None:
    assert weights(resumed / f"{kind}-resumed") == weights(resumed / f"{kind}-sharded")
    assert scores_of(resumed / f"{kind}-resumed") == scores_of(resumed / f"{kind}-sharded")


def test_a_killed_run_goes_on_to_the_same_weights(material: Material, tmp_path: Path) -> None:
    """Through accelerate's launcher and its file, with dropout."""
    kind = "pretrain"
    (tmp_path / "fsdp2.yaml").write_text(CONFIG)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "fsdp2.yaml", "-m", "llmkit"]
    launch += [*command(kind, material, tmp_path, dropout=True), "train.max_steps=40"]

    def run(*arguments: str) -> None:
        done = subprocess.run([*launch, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    run("-o", "whole")
    killed = psutil.Popen([*launch, "-o", "killed"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(f"killed/checkpoints/*/{SEAL}")):
        assert killed.poll() is None
        time.sleep(0.01)
    family = [*killed.children(recursive=True), killed]
    for member in family:
        member.kill()
    psutil.wait_procs(family)
    assert not (tmp_path / "killed" / "metrics.json").exists()
    run("-o", "killed", "--resume")
    assert list(tmp_path.glob(f"killed/checkpoints/*/{SHARDED_WEIGHTS}"))
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
