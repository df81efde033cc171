"""Read a recipe from YAML and overrides, or report all of its problems in one message.

Each problem names the file and line or the override that it comes from. Nothing is downloaded or written until a
recipe is valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import ValidationError

from llmkit.recipes.finetuning import FinetuneRecipe, TaskFacts
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.problems import Key, dotted, explain
from llmkit.recipes.section import Section
from llmkit.recipes.shipped import locate
from llmkit.system.errors import UserError

R = TypeVar("R", bound=Section)

# An override of a key removes its alternatives from the recipe.
_LENGTHS: tuple[Key, ...] = (("train", "num_train_epochs"), ("train", "max_steps"), ("train", "time_budget"))
_FILES: tuple[Key, ...] = (("data", "train"), ("data", "validation"), ("data", "test"))
_ORIGINS = ("path", "train", "validation", "test")
REPLACES: dict[Key, tuple[Key, ...]] = {
    **{length: _LENGTHS for length in _LENGTHS},
    **{file: (("data", "path"),) for file in _FILES},
    ("data", "path"): _FILES,
    ("corpus", "path"): (("corpus", "sources"), ("corpus", "tokenizer")),
    ("corpus", "sources"): (("corpus", "path"),),
    ("corpus", "masking"): (("corpus", "whole_word_mask"),),
    ("corpus", "whole_word_mask"): (("corpus", "masking"),),
    ("model", "pretrained"): (("model", "config"), ("model", "tokenizer"), ("model", "vocab_size")),
    ("model", "config"): (
        ("model", "pretrained"),
        ("model", "attention_probs_dropout_prob"),
        ("model", "max_position_embeddings"),
    ),
    ("model", "tokenizer"): (("model", "vocab_size"),),
    ("model", "vocab_size"): (("model", "tokenizer"),),
    ("task",): (("data", "path"), ("data", "name"), ("data", "revision"), *_FILES),
}


class _Loader(yaml.SafeLoader):
    """A loader with the floats of YAML 1.2: `1e-4` is a number, not a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d+)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)
# The first match wins. Put floats last, so that an integer stays an integer.
for _first, _resolvers in _Loader.yaml_implicit_resolvers.items():
    _Loader.yaml_implicit_resolvers[_first] = sorted(_resolvers, key=lambda pair: pair[0] == "tag:yaml.org,2002:float")


@dataclass
class _Draft:
    """An unchecked recipe: its values, and the place of each one."""

    values: dict[str, Any]
    places: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def place(self, key: Key) -> str:
        """Where the value at `key`, or else the closest section around it, was given."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.places:
                return self.places[key[:length]]
        return ""


def read_recipe(
    kind: type[R], name_or_path: str, overrides: Sequence[str] = (), *, tasks: Mapping[str, TaskFacts] | None = None
) -> R:
    """Read the recipe `name_or_path` and apply `overrides`. The task of a fine-tuning recipe decides its class.

    Raises UserError with all problems at once.
    """
    path = locate(name_or_path)
    draft = _parse_file(path)
    return _finish(kind, draft, overrides, tasks or {}, f"recipe {path}")


def recipe_from(kind: type[R], values: Mapping[str, Any], overrides: Sequence[str] = ()) -> R:
    """Build a recipe from `values` of the command line and apply `overrides`."""
    draft = _Draft(dict(values), {(): "command line"})
    return _finish(kind, draft, overrides, {}, "command line")


def parse_value(text: str) -> Any:
    """The value of an override, as its YAML says. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # safe: a subclass of SafeLoader


def kind_of(path: Path) -> type[PretrainRecipe] | type[FinetuneRecipe]:
    """The kind of recipe in a file. A fine-tuning recipe has a task or data, a pretraining recipe has neither."""
    values = _parse_file(path).values
    return FinetuneRecipe if "task" in values or "data" in values else PretrainRecipe


def dump(recipe: Section) -> str:
    """The resolved recipe as YAML. Reading it gives the same recipe."""
    values = recipe.model_dump(exclude_none=True, exclude_unset=False)
    # Omit defaults that cannot be combined with a key that is set.
    corpus = values.get("corpus", {})
    if "path" in corpus:
        corpus.pop("tokenizer", None)
    for holder in (corpus, values):
        tokenizer = holder.get("tokenizer")
        if isinstance(tokenizer, dict) and "path" in tokenizer:
            holder["tokenizer"] = {"path": tokenizer["path"]}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _finish(kind: type[R], draft: _Draft, overrides: Sequence[str], tasks: Mapping[str, TaskFacts], title: str) -> R:
    old_task = str(draft.values.get("task"))
    _apply(draft, overrides)
    task = str(draft.values.get("task"))
    if task != old_task and task in tasks and old_task in tasks:
        if tasks[task].recipe_class is not tasks[old_task].recipe_class:
            raise UserError(
                f"{draft.place(('task',))}: the recipe is for {old_task}, which is another kind of task",
                remedy=f"choose a recipe for {task}, or use its default recipe: llmkit finetune --task {task}",
            )
        if not draft.place(("name",)).startswith("override "):
            draft.values["name"] = task.replace("/", "-")
    if kind is FinetuneRecipe and task in tasks:
        kind = cast(type[R], tasks[task].recipe_class)
        _add_default_data(draft.values, tasks[task])
    try:
        recipe = kind.model_validate(draft.values, context={"tasks": tasks} if tasks else None)
    except ValidationError as error:
        # Without a known task, the keys of the sections are not known either.
        found = [
            p
            for p in error.errors()
            if kind is not FinetuneRecipe or p["type"] != "extra_forbidden" or len(p["loc"]) < 2
        ]
        draft.problems += [explain(kind, dict(problem), draft.place) for problem in found]
    if draft.problems:
        count = len(draft.problems)
        raise UserError(
            *dict.fromkeys(draft.problems),
            remedy=f"{title} has {count} problem{'s' if count > 1 else ''}; docs/recipes.md lists every key",
        )
    return recipe


def _add_default_data(values: dict[str, Any], task: TaskFacts) -> None:
    """Use the task's dataset on the Hub if the recipe names no data."""
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
                f"{path}: *{alias.anchor}: aliases are not supported",
                remedy=f"write the value out, or quote it if it is a pattern: '*{alias.anchor}'",
            )
        node = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)  # safe: a subclass of SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise UserError(
            f"{path}{line}: not valid YAML: {what}",
            remedy="check the indentation and colons, and quote values that begin with *, &, @, % or a bracket",
        ) from None
    if not isinstance(values, dict):
        raise UserError(
            f"{path}: not a mapping of sections", remedy="see `llmkit recipes show bert-mini` for an example"
        )
    draft = _Draft(values, {(): str(path)})
    seen: set[Key] = set()
    for key, number in _lines(node, ()):
        if key in seen:
            draft.problems.append(f"{path}:{number}: {dotted(key)}: duplicate key")
        seen.add(key)
        draft.places[key] = f"{path}:{number}"
    return draft


def _lines(node: yaml.Node | None, key: Key) -> Iterator[tuple[Key, int]]:
    """Each key of a YAML document, with its line."""
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
            # `*.csv` is a pattern: in YAML it would be an alias, and an override has nothing to refer to.
            value = text if text.startswith("*") else parse_value(text)
        except yaml.YAMLError:
            draft.problems.append(f"{place}: the value is not valid YAML; quote it: '{dotted}=\"{text}\"'")
            continue
        given.add(key[:2])
        # Another task has another dataset, so the file's is removed; the file's own task keeps it.
        same = key == ("task",) and value == draft.values.get("task")
        for other in () if same else REPLACES.get(key[:2], ()):
            if other not in {*given, key[:2]}:
                _remove(draft.values, other)
        parent = draft.values
        for name in key[:-1]:
            child = parent.get(name)
            # A copy: the caller's mapping must not change.
            parent[name] = dict(child) if isinstance(child, Mapping) else {}
            parent = parent[name]
        parent[key[-1]] = value
        # The override replaces everything below this key, so the file's lines no longer apply.
        draft.places = {at: where for at, where in draft.places.items() if at[: len(key)] != key}
        draft.places[key] = place


def _remove(values: dict[str, Any], key: Key) -> None:
    section = values.get(str(key[0]))
    if isinstance(section, dict):
        section.pop(str(key[1]), None)
