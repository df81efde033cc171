"""What each command imports, or rather what not: an import takes a second or more, which a user waits for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.cli.main import COMMANDS

TRAINING = {"transformers.trainer", "llmkit.training"}
DATASETS = TRAINING | {"datasets", "pandas"}
TORCH = DATASETS | {"torch", "transformers", "accelerate", "pyarrow", "tokenizers", "huggingface_hub"}
NUMPY = TORCH | {"numpy"}

SMALL = "--data good.jsonl data.max_length=32 data.doc_stride=8"
# Commands, and the modules that are not imported by any of them so far: all run in one process, one after another.
WITHOUT_A_MODEL = (
    ("--version", NUMPY),
    ("--help", NUMPY),
    *((f"{command} --help", NUMPY) for command in (*COMMANDS, "recipes", "recipes check")),
    ("recipes list", NUMPY),
    ("recipes show bert-mini", NUMPY),
    ("recipes check bert-mini", TORCH),  # the tasks themselves are written on numpy
    ("tasks", TORCH),
    ("eval --predictions answers.json --data good.jsonl --task squad", TORCH),
)
WITH_A_MODEL = (
    ("ask answerer -q who? -c reed", DATASETS),
    ("predict answerer good.jsonl -o OUTPUT.jsonl --task squad data.max_length=32 data.doc_stride=8", TRAINING),
    (f"eval answerer --task squad {SMALL}", TRAINING),
)
RUNNER = """
import json, sys
from contextlib import redirect_stdout
from llmkit.cli.main import main
imported = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["llmkit", *arguments]
    with redirect_stdout(sys.stderr):
        try:
            main()
        except SystemExit as stop:
            assert not stop.code, arguments
    imported.append(sorted(sys.modules))
print(json.dumps(imported))
"""


def needless(commands: tuple[tuple[str, set[str]], ...], folder: Path, output: Path) -> dict[str, set[str]]:
    """Run the commands in a process of their own: what each had imported at its end and should not have."""
    arguments = [command.replace("OUTPUT", str(output)).split() for command, _ in commands]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(arguments)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stdout)
    return {
        command: found
        for (command, forbidden), modules in zip(commands, imported, strict=True)
        if (found := forbidden & set(modules))
    }


def test_commands_without_a_model_start_at_once(material: Path, tmp_path: Path) -> None:
    noticed = ("tasks --help", NUMPY)  # a control: numpy is imported by then, and must be reported
    assert needless((*WITHOUT_A_MODEL, noticed), material, tmp_path / "output") == {"tasks --help": {"numpy"}}


def test_commands_that_use_a_model_do_not_wait_for_the_trainer(material: Path, tmp_path: Path) -> None:
    assert needless(WITH_A_MODEL, material, tmp_path / "output") == {}


def without(modules: set[str], code: str, **environment: str) -> str:
    """What a program prints if it cannot import the modules. Its exit code is not checked."""
    hidden = f"import sys; sys.argv = ['llmkit']; sys.modules.update(dict.fromkeys({sorted(modules)}))\n"
    command = [sys.executable, "-c", hidden + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment).stdout


@pytest.mark.parametrize(
    ("words", "completed", "missing"),
    [("pretrain -r bert-", "bert-mini", NUMPY), ("finetune --task squad", "squad_v2", TORCH)],
)
def test_completion_needs_none_of_them(words: str, completed: str, missing: set[str]) -> None:
    completing = {"_LLMKIT_COMPLETE": "complete_bash", "COMP_WORDS": f"llmkit {words}", "COMP_CWORD": "3"}
    assert completed in without(missing, "from llmkit.cli.main import main; main()", **completing)


def test_doctor_shows_its_first_findings_before_it_imports_torch() -> None:
    shown = without({"torch"}, "from llmkit.cli.main import main; sys.argv = ['llmkit', 'doctor']; main()")
    assert "\ntransformers " in shown
    assert "\ncache " in shown
    assert "processor" not in shown
