"""Run the commands that the pages show, and fill in their output. Draws docs/terminal.svg too.

python docs/record.py

An output block on a page is a comment and a fence. The command is a line of docs/session.sh:

    <!-- output: llmkit eval runs/tiny-squad -->
    ```console
    $ llmkit eval runs/tiny-squad
    ```

`(first 5 lines)` or `(last 5 lines)` after the command shows only these. A block keeps its text when nothing but
times and speeds would change. The session runs in build/record. `llmkit demo` takes minutes, so its output and its
runs stay there for the next time; remove that folder to record everything again.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from rich.text import Text

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
WORK = ROOT / "build" / "record"
HOME = "/home/jane"  # what the pages say instead of WORK
DEMO = "llmkit demo"
# Lines that a terminal does not keep, and the time of a demo that other programs may have slowed down.
PASSING = re.compile(
    r"^((tokenizing|running|checking|evaluating|reading|looking in|predicting|pretrain|finetune)  |The whole flow took)"
)
MACHINE = re.compile(r"^(processor +|machine +|memory_gb +|load +)\S.*$", re.MULTILINE)
VARIES = re.compile(
    r"\d[\d.,]*(?=( s| MB/s| GiB| a second)\b)"
    r"|(?<=\"seconds\": )[\d.]+|(?<=\"tokens_per_second\": )[\d.]+|(?<=\"peak_share\": )[\d.]+"
    r"|^(PyTorch|ONNX).*",  # a table of speeds
    re.MULTILINE,
)
BLOCK = re.compile(
    r"<!-- output: (?P<command>[^\n]+?)(?: \((?P<end>first|last) (?P<count>\d+) lines\))? -->\n"
    r"```console\n(?P<old>.*?)```\n",
    re.DOTALL,
)


def session() -> dict[str, bool]:
    """The commands of docs/session.sh, each with whether it is meant to fail."""
    lines = [line for line in (DOCS / "session.sh").read_text(encoding="utf-8").splitlines() if line]
    return {line.removeprefix("! "): line.startswith("! ") for line in lines if not line.startswith("#")}


def pages() -> list[Path]:
    """All pages that may show output."""
    return [ROOT / "README.md", *sorted(DOCS.glob("guide/*.md"))]


def record() -> dict[str, str]:
    """Run the session; returns what each command printed, stdout and stderr as they came."""
    kept = WORK / "demo.txt"
    _empty(WORK, keep={kept, WORK / "runs", WORK / "runs" / "demo"} if kept.is_file() else set())
    outputs = {}
    for command, fails in session().items():
        if command == DEMO and kept.is_file():
            outputs[command] = kept.read_text(encoding="utf-8")
            continue
        print(f"$ {command}", file=sys.stderr)
        done = _run(command)
        if fails is not (done.returncode != 0):
            raise SystemExit(f"{done.stdout}\nexited with {done.returncode}: {command}")
        outputs[command] = tidy(done.stdout)
        if command == DEMO:
            kept.write_text(outputs[command], encoding="utf-8")
    return outputs


def tidy(output: str) -> str:
    """What a user would see in the end, without what belongs to this machine."""
    output = output.replace(str(WORK), HOME).replace(str(ROOT), f"{HOME}/llmkit")
    lines = [line.rstrip() for line in output.splitlines() if not PASSING.match(line)]
    return MACHINE.sub(r"\1…", "\n".join(lines)) + "\n"


def fill(page: str, outputs: dict[str, str]) -> str:
    """A page with its output blocks filled in."""

    def filled(block: re.Match[str]) -> str:
        lines = outputs[block["command"]].splitlines()
        count = int(block["count"] or len(lines))
        if block["end"] == "first":
            lines = [*lines[:count], "…"]
        elif block["end"] == "last":
            lines = ["…", *lines[-count:]]
        new = "\n".join([f"$ {block['command']}", *lines]).rstrip() + "\n"
        if "```" in new:
            raise SystemExit(f"the output would end its own block, show less of it: {block['command']}")
        if VARIES.sub("#", new) == VARIES.sub("#", block["old"]):
            return block[0]
        return block[0].replace(f"```console\n{block['old']}```", f"```console\n{new}```")

    return BLOCK.sub(filled, page)


def draw(demo: str) -> str:
    """The end of the demo in a terminal window, as SVG."""
    answer, _, rest = demo[demo.index("Q: ") :].partition("\nprobability ")  # where the other candidates begin
    scores = rest[rest.index("entities never seen") :].partition("\n\n")[0]
    console = Console(record=True, width=96, file=io.StringIO())
    console.print(Text.assemble(("$ ", "green"), (DEMO, "bold")), Text("…", "dim"), sep="\n")
    for line in [*answer.splitlines(), "", *scores.splitlines()]:
        style = "bold" if re.match(r"entities never seen|\S.*  \(\d+%\)$", line) else ""
        text = line.lstrip()
        console.print(Padding(Text(text, style), (0, 0, 0, len(line) - len(text))))
    svg = console.export_svg(title="llmkit", theme=DEFAULT_TERMINAL_THEME, unique_id="terminal")
    svg = svg.replace('stroke="rgba(255,255,255,0.35)"', 'stroke="#cccccc"')  # white on white shows no window
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # a picture loads no fonts


def _empty(folder: Path, keep: set[Path]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif path.is_dir() and any(path in kept.parents for kept in keep):
            _empty(path, keep)


def _run(command: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LLMKIT_", "HF_"))}
    variables.pop("COLUMNS", None)
    variables |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "HOME": str(WORK),
        "HF_HUB_OFFLINE": "1",
    }
    shell = ["bash", "-c", command]
    return subprocess.run(shell, cwd=WORK, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> None:
    """Record, fill in every page, draw the picture."""
    outputs = record()
    for path in pages():
        before = path.read_text(encoding="utf-8")
        after = fill(before, outputs)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"changed {path.relative_to(ROOT)}", file=sys.stderr)
    (DOCS / "terminal.svg").write_text(draw(outputs[DEMO]), encoding="utf-8")


if __name__ == "__main__":
    main()
