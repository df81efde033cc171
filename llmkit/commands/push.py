"""`llmkit push`: upload the model and model card of a finished run to the Hub, in one commit."""

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
# The files of a model. Nothing else is uploaded: no training checkpoints, no pickles, no other files in the folder.
PARTS = re.compile(
    r"config\.json|generation_config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
    r"|(decoder_tokenizer/)?tokenizer(_config)?\.json|llmkit\.json"
    r"|modules\.json|1_Pooling/config\.json|config_sentence_transformers\.json|sentence_bert_config\.json"
)


@dataclass(frozen=True)
class Upload:
    """What to upload, and to which repository. `files` are paths relative to the folder; `card` is final."""

    name: str
    folder: Path
    files: tuple[str, ...]
    card: str


def prepare(path: Path, name: str) -> Upload:
    """Collect and check what to upload, without the Hub. Raises UserError; writes nothing."""
    _check_name(name)
    run = _finished(path)
    found = sorted(file.relative_to(run.model).as_posix() for file in run.model.rglob("*") if file.is_file())
    files = tuple(file for file in found if PARTS.fullmatch(file))
    kinds = {"config.json", "tokenizer.json", "model.safetensors"}
    if missing := kinds - {re.sub(r"-\d+-of-\d+", "", file) for file in files}:
        raise UserError(
            f"{run.model} has no {', '.join(sorted(missing))}", remedy="restore the file, or run the recipe again"
        )
    if others := [file for file in found if file not in files and file != CARD]:
        warn(f"not uploaded (not part of the model): {', '.join(others)}")
    # The card may have been edited since the run, so an existing one is uploaded unchanged.
    card = read_text(run.model / CARD) if CARD in found else card_of(run)
    return Upload(name, run.model, files, card.replace(NAME, name))


def show(upload: Upload) -> None:
    """Print what `push` would upload."""
    sizes = {file: (upload.folder / file).stat().st_size for file in upload.files}
    sizes[CARD] = len(upload.card.encode())
    rows = [[file, f"{size:,}"] for file, size in sizes.items()]
    table(["file", ">bytes"], rows, title=f"{upload.name}: {sum(sizes.values()):,} bytes in {len(sizes)} files")
    result(f"\n{upload.card}")


def push(upload: Upload, *, private: bool) -> str:
    """Upload to the Hub, and create the repository if there is none. Returns its URL.

    A single commit replaces the old model by the new one. Files of the old model that the new one lacks are deleted,
    because loaders would read them. Raises UserError for problems with the network or the Hub.
    """
    with writing_to_the_hub(upload.name) as (api, there):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        if there is not None and private and not there.private:
            raise UserError(
                f"{upload.name} already exists and is public",
                remedy=f"make it private at {endpoint()}/{upload.name}/settings, or remove --private",
            )
        if there is None:
            api.create_repo(upload.name, private=private, exist_ok=True)
            say(f"created {upload.name} ({'private' if private else 'public'})")
        before = [file.rfilename for file in there.siblings or ()] if there else []
        stale = [file for file in before if PARTS.fullmatch(file) and file not in upload.files]
        if stale:
            say(f"deleting files of the previous model: {', '.join(stale)}")
        size = sum((upload.folder / file).stat().st_size for file in upload.files)
        say(f"uploading {len(upload.files) + 1} files, {size / 1e6:,.1f} MB, to {endpoint()}")
        commit = api.create_commit(
            upload.name,
            [
                CommitOperationAdd(CARD, upload.card.encode()),
                *(CommitOperationAdd(file, upload.folder / file) for file in upload.files),
                *(CommitOperationDelete(file) for file in stale),
            ],
            commit_message="Upload a model trained with llmkit",
        )
    unchanged = there is not None and commit.oid == there.sha
    say(f"{upload.name} is already up to date" if unchanged else f"uploaded: commit {commit.oid}")
    return f"{endpoint()}/{upload.name}"


def _check_name(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # as its documentation has it

    try:
        validate_repo_id(name)
    except HFValidationError:
        problem = "use letters, digits and -_. only, no -- or .., and at most 96 characters"
    else:
        problem = "" if "/" in name else "it has no namespace"
    if problem:
        raise UserError(
            f"{name!r} is not a valid repository name: {problem}",
            remedy="give NAMESPACE/NAME, such as jane/bert-mini; NAMESPACE is your name on the Hub, or an organization",
        )


def _finished(path: Path) -> RunDir:
    """Open the run. Raises UserError if it is not a run, or not finished."""
    run = RunDir(path)
    if not path.exists():
        raise UserError(f"no such run: {path}", remedy="check the path")
    if not (path / "recipe.yaml").is_file():
        what = "a checkpoint, without a record of its training" if (path / "config.json").is_file() else "not a run"
        inside = path.name == "model" and (path.parent / "recipe.yaml").is_file()
        instead = f"give the run itself: {path.parent}" if inside else "give the folder of a run"
        raise UserError(
            f"{path} is {what}",
            remedy=f"{instead}, which the model card is written from; for other folders, use `hf upload`",
        )
    if not run.finished:
        raise UserError(f"{path} is not finished", remedy=f"finish it first: its command, with --resume -o {path}")
    return run
