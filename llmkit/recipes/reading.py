"""YAML and overrides → a recipe, or everything that is wrong with them in one message.

A value that is wrong is named with its file and line, or with the override it came from. Nothing is
downloaded or written before a recipe has passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from llmkit.recipes.finetuning import FinetuneRecipe, TaskFacts
from llmkit.recipes.pretraining import PretrainRecipe, Section
from llmkit.recipes.shipped import locate
from llmkit.system.errors import UserError, did_you_mean

R = TypeVar("R", bound=Section)
Key = tuple[str | int, ...]

# An override takes the place of what the file says of its alternatives.
_LENGTHS: tuple[Key, ...] = (("train", "num_train_epochs"), ("train", "max_steps"), ("train", "time_budget"))
_FILES: tuple[Key, ...] = (("data", "train"), ("data", "validation"), ("data", "test"))
_ORIGINS = ("path", "train", "validation", "test")
DISPLACES: dict[Key, tuple[Key, ...]] = {
    **{length: _LENGTHS for length in _LENGTHS},
    **{file: (("data", "path"),) for file in _FILES},
    ("data", "path"): _FILES,
    ("corpus", "path"): (("corpus", "sources"), ("corpus", "tokenizer")),
    ("corpus", "sources"): (("corpus", "path"),),
    ("model", "pretrained"): (("model", "config"), ("model", "tokenizer"), ("model", "vocab_size")),
    ("model", "config"): (("model", "pretrained"),),
    ("model", "tokenizer"): (("model", "vocab_size"),),
    ("model", "vocab_size"): (("model", "tokenizer"),),
    ("task",): (("data", "path"), ("data", "name"), ("data", "revision"), *_FILES),
}


class _Loader(yaml.SafeLoader):
    """YAML with floats as in YAML 1.2: `1e-4` is a number, not a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d+)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)
# First match wins: a plain integer stays an integer.
for _first, _resolvers in _Loader.yaml_implicit_resolvers.items():
    _Loader.yaml_implicit_resolvers[_first] = sorted(_resolvers, key=lambda pair: pair[0] == "tag:yaml.org,2002:float")


@dataclass
class _Draft:
    """A recipe before it is checked: its values, and where each came from."""

    values: dict[str, Any]
    places: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def place(self, key: Key) -> str:
        """Where the value at `key` was given, or the nearest thing around it that was."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.places:
                return self.places[key[:length]]
        return ""


def read_recipe(
    kind: type[R], name_or_path: str, overrides: Sequence[str] = (), *, tasks: Mapping[str, TaskFacts] | None = None
) -> R:
    """The recipe `name_or_path` with `overrides` on top; for fine-tuning, of the kind that its task needs.

    Raises UserError with every problem at once.
    """
    path = locate(name_or_path)
    draft = _parse_file(path)
    return _finish(kind, draft, overrides, tasks or {}, f"recipe {path}")


def recipe_from(kind: type[R], values: Mapping[str, Any], overrides: Sequence[str] = ()) -> R:
    """A recipe from values in hand (what the command line gave) with `overrides` on top."""
    draft = _Draft(dict(values), {(): "command line"})
    return _finish(kind, draft, overrides, {}, "command line")


def kind_of(path: Path) -> type[PretrainRecipe] | type[FinetuneRecipe]:
    """Which of the two recipes a file holds: only a fine-tuning recipe names a task."""
    values = _parse_file(path).values
    return FinetuneRecipe if "task" in values or "data" in values else PretrainRecipe


def dump(recipe: Section) -> str:
    """The resolved recipe as YAML that reads back as the same recipe."""
    values = recipe.model_dump(exclude_none=True, exclude_unset=False)
    # A default that may not stand beside its alternative is left out.
    corpus = values.get("corpus", {})
    if "path" in corpus:
        corpus.pop("tokenizer", None)
    for holder in (corpus, values):
        tokenizer = holder.get("tokenizer")
        if isinstance(tokenizer, dict) and "path" in tokenizer:
            holder["tokenizer"] = {"path": tokenizer["path"]}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _finish(kind: type[R], draft: _Draft, overrides: Sequence[str], tasks: Mapping[str, TaskFacts], title: str) -> R:
    was = str(draft.values.get("task"))
    _apply(draft, overrides)
    task = str(draft.values.get("task"))
    if task != was and task in tasks and was in tasks:
        if tasks[task].recipe_class is not tasks[was].recipe_class:
            raise UserError(
                f"{draft.place(('task',))}: the recipe is for {was}, whose answers are of another kind",
                remedy=f"name a recipe for {task}, or none: llmkit finetune --task {task}",
            )
        if not draft.place(("name",)).startswith("override "):
            draft.values["name"] = task.replace("/", "-")
    if kind is FinetuneRecipe and task in tasks:
        kind = cast(type[R], tasks[task].recipe_class)
        _own_data(draft.values, tasks[task])
    try:
        recipe = kind.model_validate(draft.values, context={"tasks": tasks} if tasks else None)
    except ValidationError as error:
        # Which keys there are is for the task to say, and this one is not known.
        found = [
            p
            for p in error.errors()
            if kind is not FinetuneRecipe or p["type"] != "extra_forbidden" or len(p["loc"]) < 2
        ]
        draft.problems += [_explain(kind, draft, dict(problem)) for problem in found]
    if draft.problems:
        count = len(draft.problems)
        raise UserError(
            *dict.fromkeys(draft.problems),
            remedy=f"{title} has {count} problem{'s' if count > 1 else ''}; docs/recipes.md lists every key",
        )
    return recipe


def _own_data(values: dict[str, Any], task: TaskFacts) -> None:
    """Where a recipe does not say where its examples are, they are the task's own on the Hub."""
    data = values.setdefault("data", {})
    if isinstance(data, dict) and task.hub_id is not None and not any(data.get(name) for name in _ORIGINS):
        own = {"path": task.hub_id, "name": task.hub_name, "revision": task.hub_revision}
        values["data"] = own | {key: value for key, value in data.items() if value is not None}


def _parse_file(path: Path) -> _Draft:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})", remedy="save the recipe as UTF-8") from None
    try:
        if alias := next((event for event in yaml.parse(text) if isinstance(event, yaml.AliasEvent)), None):
            raise UserError(
                f"{path}: *{alias.anchor}: aliases are not read",
                remedy="write the value out: a recipe says everything in its place",
            )
        node = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)  # a SafeLoader's child: builds plain values only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise UserError(f"{path}{line}: not valid YAML: {what}", remedy="mind the indentation and colons") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a recipe is a mapping of sections", remedy="see `llmkit recipes show bert-mini`")
    draft = _Draft(values, {(): str(path)})
    seen: set[Key] = set()
    for key, number in _lines(node, ()):
        if key in seen:
            draft.problems.append(f"{path}:{number}: {_dotted(key)}: given twice")
        seen.add(key)
        draft.places[key] = f"{path}:{number}"
    return draft


def _lines(node: yaml.Node | None, key: Key) -> Iterator[tuple[Key, int]]:
    """Every key of a YAML document, with its line."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield (*key, name.value), name.start_mark.line + 1
            yield from _lines(value, (*key, name.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*key, index), item.start_mark.line + 1
            yield from _lines(item, (*key, index))


def _apply(draft: _Draft, overrides: Sequence[str]) -> None:
    given: set[Key] = set()
    for override in overrides:
        dotted, equals, text = override.partition("=")
        key = tuple(dotted.strip().split("."))
        place = f"override {override}"
        if not equals or not all(key):
            draft.problems.append(f"{place}: not of the form section.key=value")
            continue
        try:
            value = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError:
            draft.problems.append(f"{place}: the value is not valid YAML; quote it")
            continue
        given.add(key[:2])
        # Another task has other data; the same one said again has the same.
        same = key == ("task",) and value == draft.values.get("task")
        for other in () if same else DISPLACES.get(key[:2], ()):
            if other not in {*given, key[:2]}:
                _remove(draft.values, other)
        parent = draft.values
        for name in key[:-1]:
            child = parent.get(name)
            # Copied, so that the mapping the caller passed in stays as it was.
            parent[name] = dict(child) if isinstance(child, Mapping) else {}
            parent = parent[name]
        parent[key[-1]] = value
        # What the file had below this key is gone, and its lines with it.
        draft.places = {at: where for at, where in draft.places.items() if at[: len(key)] != key}
        draft.places[key] = place


def _remove(values: dict[str, Any], key: Key) -> None:
    section = values.get(str(key[0]))
    if isinstance(section, dict):
        section.pop(str(key[1]), None)


def _explain(kind: type[BaseModel], draft: _Draft, problem: dict[str, Any]) -> str:
    """One pydantic problem as a line a user can act on."""
    key: Key = tuple(part for part in problem["loc"] if not str(part).startswith(("function-", "literal[")))
    # Of a union pydantic names the branch (`bool`, `literal['auto']`); the user wrote no such key.
    key = tuple(part for part in key if part not in ("bool",))
    name = _dotted(key)
    place = draft.place(key)
    if problem["type"] == "extra_forbidden":
        known = _fields(kind, key[:-1])
        what = f"unknown key{did_you_mean(str(key[-1]), known)}"
        if not did_you_mean(str(key[-1]), known):
            what += f"; known here: {', '.join(known)}"
    elif problem["type"] == "missing":
        what = "missing"
    elif problem["type"] == "value_error":
        what = problem["msg"].removeprefix("Value error, ")
    else:
        message = problem["msg"].removeprefix("Input ")
        what = f"{message}, got {problem['input']!r}"
    return ": ".join(part for part in (place, name, what) if part)


def _fields(kind: type[BaseModel], key: Key) -> list[str]:
    """The keys that the section at `key` knows."""
    section: type[BaseModel] | None = kind
    for part in key:
        if isinstance(part, int) or section is None:
            continue
        info = section.model_fields.get(part)
        section = _section_in(info.annotation) if info else None
    return list(section.model_fields) if section else []


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section class inside an annotation such as `list[Annotated[Source, …]] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _section_in(inner))), None)


def _dotted(key: Key) -> str:
    dotted = ""
    for part in key:
        dotted += f"[{part}]" if isinstance(part, int) else f".{part}" if dotted else str(part)
    return dotted
