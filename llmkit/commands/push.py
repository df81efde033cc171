"""`llmkit push`: a finished run in, its model and model card on the Hub out, in one commit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from llmkit.sharing.hub_upload import writing_to_the_hub
from llmkit.sharing.model_card import card_of
from llmkit.sharing.usage_examples import NAME
from llmkit.system.console import result, say, table, warn
from llmkit.system.errors import UserError
from llmkit.system.files import read_text
from llmkit.system.hub import endpoint
from llmkit.system.run_folder import RunDir

CARD = "README.md"
# What a model consists of. Nothing else leaves the machine: no checkpoint, no pickle, no note that lies beside it.
PARTS = re.compile(
    r"config\.json|generation_config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
    r"|(decoder_tokenizer/)?tokenizer(_config)?\.json|llmkit\.json"
)


@dataclass(frozen=True)
class Upload:
    """What is about to be published: files of a folder, by their names in it, and the card in its final form."""

    name: str
    folder: Path
    files: tuple[str, ...]
    card: str


def prepare(path: Path, name: str) -> Upload:
    """What a push would publish, checked as far as it can be without the Hub. Raises UserError; writes nothing."""
    _check_name(name)
    run = _finished(path)
    found = sorted(file.relative_to(run.model).as_posix() for file in run.model.rglob("*") if file.is_file())
    files = tuple(file for file in found if PARTS.fullmatch(file))
    kinds = {"config.json", "tokenizer.json", "model.safetensors"}
    if missing := kinds - {re.sub(r"-\d+-of-\d+", "", file) for file in files}:
        raise UserError(f"{run.model} has no {', '.join(sorted(missing))}", remedy="restore it, or run it again")
    if others := [file for file in found if file not in files and file != CARD]:
        warn(f"not published, being no part of a model: {', '.join(others)}")
    # A card that its author went on writing is published as it is.
    card = read_text(run.model / CARD) if CARD in found else card_of(run)
    return Upload(name, run.model, files, card.replace(NAME, name))


def show(upload: Upload) -> None:
    """What would be published, and nothing is."""
    sizes = {file: (upload.folder / file).stat().st_size for file in upload.files}
    sizes[CARD] = len(upload.card.encode())
    rows = [[file, f"{size:,}"] for file, size in sizes.items()]
    table(["file", ">bytes"], rows, title=f"{upload.name}: {sum(sizes.values()):,} bytes in {len(sizes)} files")
    result(f"\n{upload.card}")


def push(upload: Upload, *, private: bool) -> str:
    """Publish; returns the address of the repository, which is made where there is none.

    Raises UserError for what goes wrong between here and the Hub. All comes with one commit: readers see the model
    that was there before, or this one. Parts of an earlier model that this one does not have are removed, since a
    loader would take them for its own.
    """
    with writing_to_the_hub(upload.name) as (api, there):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        if there is not None and private and not there.private:
            raise UserError(
                f"{upload.name} is there already, and public",
                remedy=f"make it private at {endpoint()}/{upload.name}/settings, or leave --private out",
            )
        if there is None:
            api.create_repo(upload.name, private=private, exist_ok=True)
            say(f"made {upload.name}, {'private' if private else 'public'}")
        before = [file.rfilename for file in there.siblings or ()] if there else []
        stale = [file for file in before if PARTS.fullmatch(file) and file not in upload.files]
        if stale:
            say(f"removing from it what belonged to another model: {', '.join(stale)}")
        size = sum((upload.folder / file).stat().st_size for file in upload.files)
        say(f"uploading {len(upload.files) + 1} files, {size / 1e6:,.1f} MB, to {endpoint()}")
        commit = api.create_commit(
            upload.name,
            [
                CommitOperationAdd(CARD, upload.card.encode()),
                *(CommitOperationAdd(file, upload.folder / file) for file in upload.files),
                *(CommitOperationDelete(file) for file in stale),
            ],
            commit_message="Publish a run of llmkit",
        )
    unchanged = there is not None and commit.oid == there.sha
    say(f"{upload.name} held all of it already" if unchanged else f"published: commit {commit.oid}")
    return f"{endpoint()}/{upload.name}"


def _check_name(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # as its documentation has it

    try:
        validate_repo_id(name)
    except HFValidationError:
        problem = "letters, digits and -_. are allowed in it, no -- or .., and 96 characters"
    else:
        problem = "" if "/" in name else "it says not under whose name"
    if problem:
        raise UserError(
            f"{name!r} is no name for a repository: {problem}",
            remedy="give NAMESPACE/NAME, such as jane/bert-mini: your name on the Hub, or an organisation's",
        )


def _finished(path: Path) -> RunDir:
    """The run, whose facts the card is made of. Raises UserError for what is none, or has not ended."""
    run = RunDir(path)
    if not path.exists():
        raise UserError(f"no such run: {path}", remedy="check the path")
    if not (path / "recipe.yaml").is_file():
        what = "a checkpoint, which does not say how it was made" if (path / "config.json").is_file() else "no run"
        inside = path.name == "model" and (path.parent / "recipe.yaml").is_file()
        instead = f"give the run itself: {path.parent}" if inside else "give the folder of a run"
        raise UserError(
            f"{path} is {what}", remedy=f"{instead}, from which the model card is written; `hf upload` takes any folder"
        )
    if not run.finished:
        raise UserError(f"{path} has not ended", remedy=f"finish it first: --resume -o {path}")
    return run
