"""`llmkit curate`: what stays, what is removed and why, and that neither kills nor processes change it."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Command

pytest.importorskip("datatrove")  # the extra `scale`

from llmkit.corpus import sources
from llmkit.corpus.curation import plan, workers
from llmkit.corpus.curation.plan import minhash_shape
from llmkit.corpus.sources import open_source
from llmkit.recipes.corpus import Source
from llmkit.recipes.curation import CurateRecipe
from llmkit.system.errors import UserError
from llmkit.system.json_rows import json_lines

NOUNS = "ship harbour lantern captain storm letter garden mountain river bell soldier winter".split()  # noqa: SIM905
VERBS = "saw found carried followed remembered painted buried opened feared answered".split()  # noqa: SIM905


def document(seed: int, sentences: int = 25) -> str:
    """A text that is not like another."""
    rng = random.Random(seed)
    return " ".join(
        f"The {rng.choice(NOUNS)} of {rng.choice(NOUNS)} {rng.randrange(100)} {rng.choice(VERBS)} that "
        f"{rng.choice(NOUNS)} and the {rng.choice(NOUNS)} with {rng.choice(NOUNS)}."
        for _ in range(sentences)
    )


def edited(text: str) -> str:
    """The same text with two words changed."""
    return text.replace("captain", "skipper", 1).replace("storm", "gale", 1)


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def texts_in(folder: Path) -> list[str]:
    return [row["text"] for file in sorted(folder.rglob("*.jsonl.zst")) for _, row in json_lines(file)]


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do the work here: starting a process takes seconds."""

    def run(self: workers.Workers) -> None:
        from llmkit.corpus.curation.executors import run_shared

        run_shared(self.plan, 0)

    monkeypatch.setattr(workers.Workers, "run", run)
    monkeypatch.setattr(sources, "PART_BYTES", 4000)  # several tasks


@pytest.mark.usefixtures("_in_this_process")
class TestHere:
    def test_near_duplicates_are_removed_and_the_order_stays(self, llmkit: Command, tmp_path: Path) -> None:
        texts = [document(seed) for seed in range(30)]
        first = write(tmp_path / "a.jsonl", [*texts[:15], texts[3]])
        (tmp_path / "b").mkdir()
        for number, part in enumerate((texts[15:25], [edited(texts[20]), edited(texts[7]), *texts[25:]])):
            write(tmp_path / "b" / f"{number}.jsonl", part)
        code, out, err = llmkit("curate", "-c", str(first), "-c", "b", "-o", "out")
        assert code == 0, err
        assert Path(out.strip()) == Path("out/documents")
        kept = texts_in(tmp_path / "out/documents")
        assert len(kept) == 30
        originals = [text for text in kept if text in texts]
        assert originals == [text for text in texts if text in originals]
        assert len(texts_in(tmp_path / "out/removed/duplicate")) == 3
        assert "removed 3 documents: duplicate" in err
        assert "kept 30 of 33 documents" in err
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curation.json", "documents", "removed"]
        assert {path.name for path in (tmp_path / "out/documents").iterdir()} == {"00-a-jsonl", "01-b"}

    def test_many_parts_are_few_tasks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a").mkdir()
        for number in range(7):
            write(tmp_path / "a" / f"{number}.jsonl", [document(number, 60)])
        found = [open_source(Source(path=str(tmp_path / "a"))), open_source(Source(path="demo"))]
        monkeypatch.setattr(plan, "MOST_TASKS", 4)
        made = plan.Plan.of(tmp_path, found, CurateRecipe(sources=[Source(path="demo")]))
        assert [(source, len(parts)) for source, parts in made.parts] == [(0, 2), (0, 2), (0, 2), (0, 1), (1, 1)]
        texts = [text for task in range(4) for text in made.documents(task)]
        assert texts == [document(number, 60) for number in range(7)]

    def test_the_shards_are_those_of_the_same_documents(self, llmkit: Command, tmp_path: Path) -> None:
        texts = [document(seed, 8) for seed in range(60)]
        (tmp_path / "text").mkdir()
        for number in range(6):
            write(tmp_path / "text" / f"{number}.jsonl", texts[10 * number : 10 * number + 10])
        assert llmkit("curate", "-c", "text", "-o", "curated")[0] == 0
        survivors = texts_in(tmp_path / "curated/documents")
        assert survivors == texts
        write(tmp_path / "same.jsonl", survivors)
        for corpus, folder in (("curated/documents", "ours"), ("same.jsonl", "theirs")):
            code, _, err = llmkit("tokenize", "-c", corpus, "-o", folder, "tokenizer.vocab_size=300")
            assert code == 0, err
        files = [path.relative_to("theirs") for path in sorted(Path("theirs").rglob("*")) if path.is_file()]
        assert {file.suffix for file in files} == {".arrow", ".json"}
        for file in files:
            if file.name != "manifest.json":  # it names the files of text
                assert (Path("ours") / file).read_bytes() == (Path("theirs") / file).read_bytes(), file

    def test_rules_and_evaluation_data(self, llmkit: Command, tmp_path: Path) -> None:
        good, short, leaked = document(1), "Too short.", document(2)
        repeated = "The same line again and again, of the ship and the harbour.\n" * 30
        question = " ".join(leaked.split()[10:30])
        rows = [{"id": 1, "question": "who?", "paragraphs": [{"context": question}]}, {"id": 2, "question": "short"}]
        Path("eval.json").write_text(json.dumps({"data": rows}))
        write(tmp_path / "a.jsonl", [good, short, repeated, leaked, "", document(3)])
        code, _, err = llmkit(
            "curate", "-c", "a.jsonl", "-o", "out", "quality=[gopher-quality,gopher-repetition]",
            "contamination.files=[eval.json]", "duplicates.remove=false",
        )  # fmt: skip
        assert code == 0, err
        assert texts_in(tmp_path / "out/documents") == [good, document(3)]
        removed = {path.name: texts_in(path) for path in (tmp_path / "out/removed").iterdir()}
        assert removed == {"gopher-quality": [short], "gopher-repetition": [repeated], "contaminated": [leaked]}
        (file,) = (tmp_path / "out/removed/gopher-quality").iterdir()
        assert next(json_lines(file))[1]["filter_reason"] == "gopher_short_doc"
        counts = json.loads(Path("out/curation.json").read_text())["counts"]
        assert (counts["documents"], counts["kept"]) == (5, 2)
        assert "kept 2 of 5 documents" in err

    @pytest.mark.parametrize("rule", ["gopher-quality", "gopher-repetition", "c4", "fineweb"])
    def test_every_rule_runs_without_the_network(self, rule: str, llmkit: Command, tmp_path: Path) -> None:
        lines = "\n".join(document(seed, 2) for seed in range(8))
        write(tmp_path / "a.jsonl", [lines, "lorem ipsum\n" * 9])
        code, _, err = llmkit("curate", "-c", "a.jsonl", "-o", "out", f"quality=[{rule}]")
        assert code == 0, err
        assert texts_in(tmp_path / "out/documents") == [lines]

    def test_an_error_in_the_text_is_named_and_the_next_call_goes_on(self, llmkit: Command, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        for number in range(3):
            write(tmp_path / "a" / f"{number}.jsonl", [document(number, 200)])
        bad = tmp_path / "a" / "2.jsonl"
        bad.write_text("{broken\n")
        code, _, err = llmkit("curate", "-c", "a", "-o", "out")
        assert code == 1
        assert "2.jsonl:1: broken JSON" in err
        write(bad, [document(2)])
        assert llmkit("curate", "-c", "a", "-o", "out")[0] == 0

    def test_what_is_made_is_not_made_again(self, llmkit: Command, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", [document(seed) for seed in range(4)])
        assert llmkit("curate", "-c", "a.jsonl", "-o", "out")[0] == 0
        code, _, err = llmkit("curate", "-c", "a.jsonl", "-o", "out", "workers=3")
        assert code == 0
        assert "already curated" in err
        code, _, err = llmkit("curate", "-c", "a.jsonl", "-o", "out", "duplicates.similarity=0.9")
        assert code == 1
        assert "duplicates.similarity was 0.8, is 0.9" in err

    def test_nothing_left(self, llmkit: Command, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", ["short", "shorter"])
        code, _, err = llmkit("curate", "-c", "a.jsonl", "-o", "out", "quality=[gopher-quality]")
        assert code == 1
        assert "no document is left of 2" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "out"), "no text source"),
        (("-c", "demo"), "no output folder"),
        (("-c", "demo", "-o", "out", "quality=[gopher]"), "quality"),
        (("-c", "demo", "-o", "out", "duplicates.similarty=0.5"), "did you mean"),
        (("-c", "demo,weight=2", "-o", "out"), "weight has no effect"),
        (("-c", "demo", "-o", "out", "executor=slurm"), "executor=slurm needs slurm.partition"),
        (("-c", "demo", "-o", "out", "executor=slurm", "slurm.partition=cpu"), "sbatch"),
        (("-c", "demo", "-o", "out", "contamination.files=[nothing.jsonl]"), "no such file"),
    ],
)
def test_problems_are_found_before_any_work(arguments: tuple[str, ...], message: str, llmkit: Command) -> None:
    code, _, err = llmkit("curate", *arguments)
    assert code == 1
    assert message in err
    assert not Path("out").exists()


def test_a_full_disk_and_deaths_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmkit.corpus.curation import executors

    made = plan.Plan(tmp_path, [], [(0, range(1))], CurateRecipe(sources=[Source(path="demo")], workers=1))
    made.save()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(executors, "run_shared", full)
    monkeypatch.setattr(sys, "argv", ["executors", "local", str(tmp_path), "0", str(os.getppid())])
    with pytest.raises(SystemExit) as stop:
        executors.main()
    for exit_code, message in ((stop.value.code, "disk is full"), (-signal.SIGKILL, "killed again and again")):
        command = [
            sys.executable,
            "-c",
            f"import os, sys; n = {exit_code}; sys.exit(n) if n > 0 else os.kill(os.getpid(), -n)",
        ]
        monkeypatch.setattr(workers.Workers, "_started", lambda *_, command=command: subprocess.Popen(command))
        monkeypatch.setattr(workers, "LOOK_EVERY", 0.01)
        with pytest.raises(UserError, match=message):
            workers.Workers(made).run()


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9, 0.99])
def test_similar_documents_are_found_with_the_probability_that_is_promised(similarity: float) -> None:
    buckets, rows = minhash_shape(similarity)
    assert buckets * rows <= 112
    assert 1 - (1 - similarity**rows) ** buckets >= 0.92
    assert minhash_shape(0.8) == (14, 8), "as FineWeb"


def start(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "llmkit", "curate", *arguments], cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )


def children(process: subprocess.Popen[bytes]) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(process.pid).children()]


@pytest.mark.slow
def test_kills_change_nothing(tmp_path: Path) -> None:
    """Workers are killed at random, then the command with all of them; the bytes are those of an undisturbed run."""
    names = []
    for number in range(8):
        texts = [document(seed, 60) for seed in range(60 * number, 60 * number + 60)]
        texts[5] = edited(document(60 * ((number + 1) % 8) + 9, 60))
        names += ["-c", str(write(tmp_path / f"{number}.jsonl", texts))]
    whole = start(*names, "-o", "whole", "workers=1", cwd=tmp_path)
    assert whole.wait() == 0, whole.stderr and whole.stderr.read()
    rng, kills = random.Random(0), 0
    process = start(*names, "-o", "killed", "workers=3", cwd=tmp_path)
    while process.poll() is None and kills < 6:
        time.sleep(rng.uniform(1, 4))
        if pids := children(process) if process.poll() is None else []:
            os.kill(rng.choice(pids), signal.SIGKILL)
            kills += 1
    if process.poll() is None:
        for pid in [process.pid, *children(process)]:
            os.kill(pid, signal.SIGKILL)
        process.wait()
    process = start(*names, "-o", "killed", "workers=2", cwd=tmp_path)
    assert process.wait() == 0, process.stderr and process.stderr.read()
    assert kills >= 3
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert len(files) >= 9
    for file in files:
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


SBATCH = """#!{python}
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
array = re.search(r"#SBATCH --array=0-(\\d+)", script)
for task in range(int(array[1]) + 1 if array else 0):
    environment = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "node1", "RUN_OFFSET": "0"}}
    subprocess.run(["bash", "-c", script], env=environment, check=True, stdout=subprocess.DEVNULL)
print("Submitted batch job 7")
"""
SRUN = '#!/bin/bash\nwhile [[ $1 == -* ]]; do [[ $1 == -n ]] && shift; shift; done\nexec "$@"\n'


@pytest.mark.slow
def test_the_jobs_of_slurm_make_the_same(llmkit: Command, tmp_path: Path, programs: Callable[..., None]) -> None:
    """Against a stand-in for sbatch, which runs each job at once."""
    programs(sbatch=SBATCH.format(python=sys.executable), srun=SRUN, scontrol="#!/bin/sh\necho node1\n")
    texts = [document(seed) for seed in range(12)]
    write(tmp_path / "a.jsonl", texts)
    write(tmp_path / "b.jsonl", [texts[4], document(99)])
    arguments = ("curate", "-c", "a.jsonl", "-c", "b.jsonl", "duplicates.similarity=0.99")
    code, out, err = llmkit(*arguments, "-o", "out", "executor=slurm", "slurm.partition=cpu")
    assert code == 0, err
    assert (out, "submitted" in err) == ("", True)
    code, out, err = llmkit(*arguments, "-o", "out", "executor=slurm", "slurm.partition=cpu")
    assert code == 0, err
    assert out.strip() == "out/documents"
    assert llmkit(*arguments, "-o", "same", "workers=1")[0] == 0
    for file in (path for path in (tmp_path / "same").rglob("*") if path.is_file()):
        assert (tmp_path / "out" / file.relative_to(tmp_path / "same")).read_bytes() == file.read_bytes(), file


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put programs with these names and contents first on the path."""

    def write_programs(**contents: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, content in contents.items():
            (folder / name).write_text(content)
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}")

    return write_programs


@pytest.mark.usefixtures("_in_this_process")
def test_from_python(tmp_path: Path) -> None:
    import llmkit

    file = write(tmp_path / "a.jsonl", [document(1), document(2), document(1)])
    documents = llmkit.curate(file, output=tmp_path / "out", duplicates={"similarity": 0.9}, workers=1)
    assert documents == tmp_path / "out" / "documents"
    assert sorted(texts_in(documents)) == sorted([document(1), document(2)])
