"""What a search tries next, and which trial it gives up: functions of the trials so far."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from llmkit.commands.sampling import check_installed, falls_behind, next_values
from llmkit.commands.trials import Trial
from llmkit.recipes.ranges import Choice, Range, Space
from llmkit.system.errors import UserError

SPACE = [Range("", "rate", 1e-5, 1e-2), Choice("", "optim", ("adamw", "muon"))]
CHOICES = [Range("", "size", 1, 3, whole=True), Choice("", "masks", (0.15, [0.3, 0.15], True))]


def searched(space: Space, count: int, score: Callable[[dict[str, Any]], float], seed: int = 0) -> list[Trial]:
    trials: list[Trial] = []
    while len(trials) < count:
        values = next_values(space, trials, maximize=True, seed=seed)
        found = score(values)
        trials.append(Trial(len(trials) + 1, values, "finished", found, [(10, found)]))
    return trials


def peak(values: dict[str, Any]) -> float:
    return -abs(math.log10(values["rate"]) + 3) + 0.5 * (values["optim"] == "muon")


def test_it_depends_on_nothing_but_the_trials_and_the_seed() -> None:
    trials = searched(SPACE, 14, peak)
    assert [trial.values for trial in searched(SPACE, 14, peak)] == [trial.values for trial in trials]
    assert [trial.values for trial in searched(SPACE, 3, peak, seed=1)] != [trial.values for trial in trials[:3]]
    code = (
        "from llmkit.commands.sampling import next_values; from llmkit.commands.trials import Trial; "
        "from llmkit.recipes.ranges import Choice, Range; "
        f"print(next_values({SPACE!r}, {trials[:-1]!r}, maximize=True, seed=0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert eval(done.stdout) == trials[-1].values, "in another process too"


def test_the_first_ten_are_spread_over_the_ranges() -> None:
    space = [Range("", "rate", 1e-5, 1e-2), Range("", "decay", 0.0, 1.0)]
    trials = searched(space, 10, lambda values: 0.0)
    for key, place in (("rate", lambda rate: (math.log10(rate) + 5) / 3), ("decay", lambda decay: decay)):
        tenths = {min(9, int(10 * place(trial.values[key]))) for trial in trials}
        assert len(tenths) >= 9, "but for one whose number was rounded across a border"


def test_it_learns_from_them() -> None:
    trials = searched(SPACE, 40, peak)
    random, learned = trials[:10], trials[20:]
    means = [sum(trial.score or 0 for trial in some) / len(some) for some in (random, learned)]
    assert means[1] > means[0] + 0.2
    assert sum(trial.values["optim"] == "muon" for trial in learned) > len(learned) / 2


def test_no_values_are_tried_twice_until_all_were() -> None:
    found = [(trial.values["size"], str(trial.values["masks"])) for trial in searched(CHOICES, 9, lambda values: 0.0)]
    assert len(set(found)) == 9
    assert {size for size, _ in found} == {1, 2, 3}
    assert {masks for _, masks in found} == {"0.15", "[0.3, 0.15]", "True"}


def test_what_diverged_is_avoided() -> None:
    trials: list[Trial] = []
    for number in range(1, 31):
        values = next_values(SPACE, trials, maximize=True, seed=0)
        high = values["rate"] > 1e-4
        score = None if high else -1.0
        trials.append(Trial(number, values, "diverged" if high else "finished", score, [] if high else [(10, -1.0)]))
    diverged = [trial.state == "diverged" for trial in trials]
    assert sum(diverged[:10]) >= 5, "of a range of which two thirds diverge"
    assert sum(diverged[20:]) <= 2


def finished(*scores: float) -> list[Trial]:
    """Trials whose first of two evaluations had these scores."""
    return [
        Trial(number, {"rate": 1e-3, "optim": "muon"}, "finished", 90.0, [(100 * number, score), (200 * number, 90.0)])
        for number, score in enumerate(scores, start=1)
    ]


def test_a_trial_is_given_up_below_the_median_of_the_same_evaluation() -> None:
    trials = finished(10, 20, 30, 40, 50)
    assert falls_behind(SPACE, trials, [29.0], maximize=True)
    assert not falls_behind(SPACE, trials, [31.0], maximize=True)
    assert falls_behind(SPACE, trials, [31.0, 32.0], maximize=True), "at the second one the others had 90"
    assert falls_behind(SPACE, trials, [31.0], maximize=False)
    assert not falls_behind(SPACE, trials, [29.0], maximize=False)
    assert not falls_behind(SPACE, trials[:4], [1.0], maximize=True), "five must finish first"
    pruned = Trial(6, trials[0].values, "pruned", None, [(100, 99.0)])
    running = Trial(7, trials[0].values)
    assert not falls_behind(SPACE, [*trials, pruned, running], [31.0], maximize=True)


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="a search needs optuna") as error:
        check_installed()
    assert error.value.remedy == 'pip install "llmkit[search]"'
