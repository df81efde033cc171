"""Ranges and choices among overrides: how they are told apart, typed by the recipe, and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.ranges import Choice, Range, checked, combinations, every_combination, override, space_of
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS


def space(file: Path, *overrides: str) -> list[Range | Choice]:
    found, others = space_of(overrides)
    return checked(found, lambda values: read_recipe(FinetuneRecipe, str(file), [*others, *values], tasks=TASKS))


def problems(file: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(UserError) as error:
        space(file, *overrides)
    assert error.value.remedy
    return error.value.problems


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("16,32", (16, 32)),
        ("adamw, muon", ("adamw", "muon")),
        ("runs/a,../runs/b", ("runs/a", "../runs/b")),
        ("[0.3, 0.15],0.15", ([0.3, 0.15], 0.15)),
        ("true,false,auto", (True, False, "auto")),
        ('"a,b",c', ("a,b", "c")),
    ],
)
def test_commas_separate_values(text: str, values: tuple[object, ...]) -> None:
    (choice,), others = space_of([f"x.y={text}"])
    assert isinstance(choice, Choice)
    assert (choice.key, choice.values, others) == ("x.y", values, [])


@pytest.mark.parametrize(
    "text", ["[0.3, 0.15]", "../runs/a", "{a: 1, b: 2}", '"a,b"', "*.csv", "1e-4", "a..b", "1...2", "", "x,"]
)
def test_all_else_is_one_value(text: str) -> None:
    assert space_of([f"x.y={text}"]) == ([], [f"x.y={text}"])


def test_the_recipe_says_which_numbers_a_range_has(finetune_file: Path) -> None:
    found = space(
        finetune_file,
        "train.learning_rate=1e-5..1e-3",
        "train.weight_decay=0..1",
        "train.per_device_train_batch_size=8..64",
        "train.warmup_steps=0..500",
        "data.doc_stride=16..64",
    )
    assert [(one.key.partition(".")[2], one.whole, one.log) for one in found if isinstance(one, Range)] == [
        ("learning_rate", False, True),
        ("weight_decay", False, False),
        ("per_device_train_batch_size", True, False),
        ("warmup_steps", True, False),
        ("doc_stride", True, False),
    ]
    assert space(finetune_file, "train.warmup_steps=0..0.5")[0] == Range(
        "train.warmup_steps=0..0.5", "train.warmup_steps", 0.0, 0.5
    )


def test_few_digits_within_the_range() -> None:
    found = Range("", "x", 1.2345e-5, 1e-3)
    assert found.rounded(3.14159e-4) == 3.14e-4
    assert found.rounded(1.2345e-5) == 1.2345e-5, "1.23e-5 is not in it"
    assert Range("", "x", 1, 5000, whole=True).rounded(1234) == 1234
    assert override("train.learning_rate", found.rounded(3.14159e-4)) == "train.learning_rate=0.000314"


def test_shares_of_a_range() -> None:
    shares = [0.0, 0.25, 0.5, 0.75, 0.999]
    assert [Range("", "x", 1e-5, 1e-1).at(share) for share in shares] == [1e-5, 1e-4, 1e-3, 1e-2, 0.0991]
    assert [Range("", "x", 0.0, 2.0).at(share) for share in shares] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [Range("", "x", -1, 2, whole=True).at(share) for share in shares] == [-1, 0, 1, 2, 2]
    assert [Range("", "x", 1, 15, whole=True).at(share) for share in shares] == [1, 2, 4, 8, 15]
    assert [Choice("", "x", ("a", [1])).at(share) for share in shares] == ["a", "a", [1], [1], [1]]


def test_combinations_are_counted() -> None:
    found = [Choice("", "a", ("x", "y")), Range("", "b", 3, 5, whole=True)]
    assert combinations(found) == 6
    assert len(list(every_combination(found))) == 6
    assert {"a": "y", "b": 5} in list(every_combination(found))
    assert combinations([*found, Range("", "c", 0.0, 1.0)]) == float("inf")


def test_what_the_recipe_refuses_is_said_at_once_and_as_it_was_given(finetune_file: Path) -> None:
    found = problems(
        finetune_file,
        "train.learning_rte=1e-5..1e-3",
        "train.learning_rate=1e-5..5",
        "train.per_device_train_batch_size=8,small",
        "train.max_steps=10.5..20",
    )
    assert set(found) == {
        "override train.max_steps=10.5..20: train.max_steps: should be a valid integer, got 10.5",
        "override train.learning_rte=1e-5..1e-3: train.learning_rte: unknown key (did you mean learning_rate?)",
        "override train.per_device_train_batch_size=8,small: train.per_device_train_batch_size: should be a valid "
        "integer, got 'small'",
        "override train.learning_rate=1e-5..5: train.learning_rate: should be less than 1, got 5",
    }
    assert len(found) == 4


def test_ranges_that_are_none(finetune_file: Path) -> None:
    assert problems(finetune_file, "train.learning_rate=1e-3..1e-5", "train.optim=muon,muon") == (
        "override train.learning_rate=1e-3..1e-5: not a range: its lower end comes first",
        "override train.optim=muon,muon: a value is given twice",
    )
    assert problems(finetune_file, "train.learning_rate=1e-5..1e-3", "train.learning_rate=1e-4") == (
        "train.learning_rate: given twice",
    )
    assert "some numbers between 0.1 and 100 are refused" in problems(finetune_file, "train.warmup_steps=0.1..100")[0]


def test_values_that_do_not_go_together_are_found_before(finetune_file: Path) -> None:
    (problem,) = problems(
        finetune_file,
        "train.lr_scheduler_type=linear,warmup_stable_decay",
        "train.decay_steps=0.1..0.5",
    )
    assert "decay_steps has no effect without lr_scheduler_type=warmup_stable_decay" in problem
