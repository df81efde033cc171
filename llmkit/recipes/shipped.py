"""The recipes that ship with llmkit, and how a recipe is found by name or path."""

from __future__ import annotations

import re
from pathlib import Path

from llmkit.system.errors import UserError, did_you_mean

FOLDER = Path(__file__).parent / "yaml"


def shipped_recipes() -> dict[str, Path]:
    """The shipped recipes: name → file. Those in `tiny/` and `demo/` have the folder in their name."""
    found = {}
    for path in sorted(FOLDER.rglob("*.yaml")):
        parent = path.parent.relative_to(FOLDER).as_posix()
        name = path.stem if parent in ("pretrain", "finetune") else f"{parent}/{path.stem}"
        found[name] = path
    return found


def summary(path: Path) -> str:
    """The first sentence of a recipe's leading comment."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    # A sentence ends with a period before a capital letter. "et al. 2020" does not end one.
    return re.split(r"\.\s+(?=[A-Z])", " ".join(lines))[0].rstrip(".:")


def locate(name_or_path: str) -> Path:
    """The file of a recipe, given its name or path. Raises UserError if there is none."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise UserError(f"no recipe file {path}", remedy="check the path, or see `llmkit recipes list`")
        return path
    shipped = shipped_recipes()
    if name_or_path not in shipped:
        raise UserError(
            f"no recipe named {name_or_path!r}{did_you_mean(name_or_path, shipped)}",
            remedy="see `llmkit recipes list`, or give the path of a .yaml file",
        )
    return shipped[name_or_path]
