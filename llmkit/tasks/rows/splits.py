"""Find the files that make up a split: one file, several, a pattern, a folder, or the shards of a dataset.

A folder that `datasets` wrote with `save_to_disk` counts as a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from glob import glob, has_magic
from os.path import commonprefix
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.system.console import warn
from llmkit.system.errors import UserError, did_you_mean
from llmkit.system.formats import format_of
from llmkit.system.remote import downloaded, found_at, is_url
from llmkit.tasks.rows.formats import ENDINGS, holds_rows
from llmkit.tasks.rows.saved import is_saved, saved_splits

if TYPE_CHECKING:
    from llmkit.recipes.finetuning import DataSection

SPLITS = ("train", "validation", "test")
_SPELLINGS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
_SHARD = re.compile(r"(.+?)[-_.]\d+[-_.]of[-_.](\d+)(\D.*)")  # train-00000-of-00002.parquet
_SHOWN = 5  # files listed before "and N more"


def is_pattern(name: str) -> bool:
    """Whether a path is a pattern such as `data/train-*.parquet`, and no file has that very name."""
    return has_magic(name) and not Path(name).exists()


def names_files(name: str) -> bool:
    """Whether a name given for all data is that of files: of one here, of a pattern, or of a URL."""
    return Path(name).is_file() or is_pattern(name) or is_url(name)


def serves_every_split(data: DataSection) -> bool:
    """Whether the data has no splits of its own: files that the user named per split, or one file for all of them."""
    path = Path(data.path).expanduser() if data.path is not None else None
    return path is None or path.is_file() or is_saved(path)


def split_files(data: DataSection, split: str, part: str) -> list[Path] | None:
    """The local files of a part of a split; None if the data is on the Hub. Raises UserError if there is no file."""
    if data.path is not None and is_url(data.path):
        raise UserError(
            f"data.path: {data.path} is a URL, but data.path takes a folder, a file or a Hub id",
            remedy=f"name the files of each split: data.{split}={data.path}",
        )
    folder = Path(data.path).expanduser() if data.path is not None else None
    if folder is not None and (splits := saved_splits(folder)):
        return [folder / _saved_split(folder, splits, split, part)]
    if split not in SPLITS and (folder is None or (folder.is_dir() and not is_saved(folder))):
        raise UserError(
            f"local data has no split {split!r}{did_you_mean(split, SPLITS)}",
            remedy=f"its splits are {', '.join(SPLITS)}",
        )
    if folder is None:
        given = getattr(data, split)
        return None if given is None else files_named([given] if isinstance(given, str) else given, f"data.{split}")
    if folder.is_file() or is_saved(folder):
        return [folder]
    if folder.is_dir():
        return _files_in(folder, data.name, split, part)
    assert data.path is not None
    if is_pattern(data.path):
        raise UserError(
            f"data.path: {data.path} is a pattern, but data.path takes a folder, a file or a Hub id",
            remedy=f"name the files of each split: data.{split}='{data.path}'",
        )
    if holds_rows(data.path) or data.path.startswith((".", "/", "~")):
        raise UserError(f"data.path: no such file or folder: {data.path}", remedy="check the path")
    return None


def may_hold(folder: Path, split: str, part: str) -> bool:
    """Whether a folder of datasets holds anything that could be a part of a split, readable or not."""
    if splits := saved_splits(folder):
        return part in splits or any(name.startswith(_SPELLINGS[split]) for name in splits)
    spellings = tuple(spelling + part.removeprefix(split) for spelling in _SPELLINGS[split])
    return any(entry.name.startswith(spellings) for place in (folder, folder / "data") for entry in _visible(place))


def files_named(names: Sequence[str], key: str) -> list[Path]:
    """The files that `names` stand for: files, patterns, or folders of files. Each file occurs once.

    Files of a pattern or a folder are in alphabetical order. `key` is where the names are from. Raises UserError.
    """
    return list({file.resolve(): file for name in names for file in _matching(name, key)}.values())


def _matching(name: str, key: str) -> list[Path]:
    if is_url(name):
        return _remote(name, key)
    path = Path(name).expanduser()
    if path.is_file() or is_saved(path):
        return [path]
    if path.is_dir():
        return _whole_folder(path, key)
    if not is_pattern(name):
        raise UserError(
            f"{key}: no such file: {name}", remedy=f"name one: {key}=PATH; paths are relative to {Path.cwd()}"
        )
    found = sorted(file for match in glob(str(path), recursive=True) if (file := Path(match)).is_file())  # noqa: PTH207 - of any path
    if not found:
        raise UserError(f"{key}: no file matches {name}", remedy="check the pattern; ** matches folders in folders")
    return found


def _remote(url: str, key: str) -> list[Path]:
    """The file, or the files of rows of a folder or a pattern, at a URL: copies in the cache."""
    found = found_at(url)
    chosen = [file for file in found if holds_rows(file.name)] if len(found) > 1 else found
    if not chosen:
        raise UserError(f"{key}: {url} holds no file of rows", remedy=f"give files that end in {ENDINGS}")
    if other := [Path(file.name) for file in found if file not in chosen]:
        warn(f"{url}: not read, since they are not files of rows: {_listed(other)}")
    return downloaded(url, chosen)


def _whole_folder(folder: Path, key: str, *, of_path: bool = False) -> list[Path]:
    """All files of rows in a folder that a split is. `of_path` if it was found in data.path, not named with `key`."""
    if splits := saved_splits(folder):
        raise UserError(
            f"{key}: {folder} is a dataset with the splits {', '.join(splits)}",
            remedy=f"give all of it with data.path={folder}, or one split with {key}={folder}/{splits[0]}",
        )
    found = _rows_in(folder)
    if not found:
        raise UserError(f"{key}: {folder} holds no file of rows", remedy=f"give files that end in {ENDINGS}")
    if len({split for split, names in _SPELLINGS.items() for file in found if file.name.startswith(names)}) > 1:
        raise UserError(
            f"{key}: {folder} holds the files of several splits: {_listed(found)}",
            remedy=("give a pattern" if of_path else f"give all of it with data.path={folder}, or a pattern")
            + f": {key}='{folder}/{key.partition('.')[2]}*'",
        )
    if other := [file for file in _visible(folder) if file.is_file() and file not in found]:
        warn(f"{folder}: not read, since they are not files of rows: {_listed(other)}")
    return found


def _files_in(folder: Path, name: str | None, split: str, part: str) -> list[Path]:
    """The files of a part of a split, in a folder that holds several splits."""
    spellings = tuple(spelling + part.removeprefix(split) for spelling in _SPELLINGS[split])
    # A repository of the Hub has its files in data/, or in a folder for each configuration.
    for place in (folder, folder / "data", *([folder / name] if name is not None else [])):
        named = [file for file in _visible(place) if file.name.startswith(spellings)]
        if found := _without_notes(file for file in named if file.is_file() and holds_rows(file.name)):
            return _one_set(found, place, split, part)
        if folders := [entry for entry in named if entry.is_dir() and entry.name in spellings]:
            return [folders[0]] if is_saved(folders[0]) else _whole_folder(folders[0], f"data.{split}", of_path=True)
    inside = [entry for entry in _visible(folder) if any(f.name.startswith(spellings) for f in _visible(entry))]
    if inside:
        raise UserError(
            f"{folder} holds no file for the split {part}, but its folders do: {_listed(inside)}",
            remedy=f"name one: data.path={inside[0]}",
        )
    unread = [file for file in _visible(folder) if file.name.startswith(spellings)]
    if unread:
        raise UserError(
            f"{folder} holds no file for the split {part} in a format that is read: {_listed(unread)}",
            remedy=f"save it as a file whose name ends in {ENDINGS}",
        )
    whole = f", or read all files of the folder: data.{split}={folder}" if _rows_in(folder) else ""
    raise UserError(f"{folder} holds no file for the split {part}", remedy=f"name one: data.{split}=PATH{whole}")


def _one_set(found: list[Path], place: Path, split: str, part: str) -> list[Path]:
    """Return the files if they are one, or the shards of one dataset. Raises UserError for anything else."""
    if len(found) == 1 and not _SHARD.fullmatch(found[0].name):
        return found
    shards = [_SHARD.fullmatch(file.name) for file in found]
    sets = {shard and shard.groups() for shard in shards}
    if len(sets) == 1 and shards[0] is not None:
        total = int(shards[0][2])
        if total != len(found):
            raise UserError(
                f"{place} holds {len(found)} of the {total} files of the split {part}: {_listed(found)}",
                remedy=f"add the others, or read these alone: data.{split}='{place}/{shards[0][1]}*'",
            )
        return found
    prefix = commonprefix([file.name for file in found])  # noqa: RUF071 - of names, not of paths
    every = f", or all: data.{split}='{place}/{prefix}*'" if prefix else ""
    raise UserError(
        f"{place} holds {len(found)} files: {_listed(found)} for the split {part}",
        remedy=f"name one: data.{split}=PATH{every}",
    )


def _saved_split(folder: Path, splits: Sequence[str], split: str, part: str) -> str:
    """The name of a part of a split among the splits of a saved dataset."""
    spelled = [spelling + part.removeprefix(split) for spelling in _SPELLINGS.get(split, (split,))]
    found = next((name for name in [part, *spelled] if name in splits), None)
    if found is None:
        raise UserError(
            f"{folder} has no split {part!r}{did_you_mean(part, splits)}", remedy=f"its splits are {', '.join(splits)}"
        )
    return found


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, without hidden files; nothing if it is no folder."""
    return sorted(entry for entry in folder.iterdir() if entry.name[0] != ".") if folder.is_dir() else []


def _rows_in(folder: Path) -> list[Path]:
    """The files of rows in a folder."""
    return _without_notes(file for file in _visible(folder) if file.is_file() and holds_rows(file.name))


def _without_notes(files: Iterable[Path]) -> list[Path]:
    """Beside a file of another format, a .txt file is a note. On its own it is CoNLL data."""
    found = list(files)
    return [file for file in found if format_of(file.name) != ".txt"] or found


def _listed(files: Sequence[Path]) -> str:
    more = f", and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(file.name for file in files[:_SHOWN]) + more
