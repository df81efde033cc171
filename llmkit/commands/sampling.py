"""What to try next, and which trial to give up: optuna's TPE and median pruning.

Both are functions of the trials so far. A study is made anew for each question, so nothing of it must survive a kill:
the random numbers of a trial follow from the seed and its number alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.commands.trials import Trial
from llmkit.recipes.ranges import Choice, Range, Space, combinations, every_combination
from llmkit.system.errors import UserError

if TYPE_CHECKING:
    import optuna

RANDOM_TRIALS = 10  # spread over the ranges, before TPE has enough to learn from
UNPRUNED_TRIALS = 5  # that must finish before others are compared with them
_ATTEMPTS = 100  # to find values that were not tried before


def check_installed() -> None:
    """Raises UserError if optuna is missing."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError("a search needs optuna", remedy='pip install "llmkit[search]"') from None


def next_values(space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int) -> dict[str, Any]:
    """The values of the next trial: none that were tried before, unless all were."""
    import optuna

    tried = [trial.values for trial in trials]
    if len(trials) < RANDOM_TRIALS and (values := _spread(space, len(trials), seed)) not in tried:
        return values
    for attempt in range(_ATTEMPTS):
        number = int(np.random.SeedSequence([seed, len(trials), attempt]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=number)
        asked = _study(space, trials, maximize=maximize, sampler=sampler).ask(_distributions(space))
        values = {one.key: _value(one, asked.params[one.key]) for one in space}
        if values not in tried:
            return values
    if combinations(space) < np.inf:
        values = next((found for found in every_combination(space) if found not in tried), values)
    return values


def _spread(space: Space, number: int, seed: int) -> dict[str, Any]:
    """The values of a random trial, numbered from 0. A tenth of each range is in one of them: a Latin hypercube."""
    values = {}
    for column, one in enumerate(space):
        generator = np.random.default_rng([seed, column])
        parts, places = generator.permutation(RANDOM_TRIALS), generator.random(RANDOM_TRIALS)
        values[one.key] = one.at(float(parts[number] + places[number]) / RANDOM_TRIALS)
    return values


def falls_behind(space: Space, trials: Sequence[Trial], scores: Sequence[float], *, maximize: bool) -> bool:
    """Whether the best of a trial's scores so far is worse than the median of the finished ones' at this evaluation."""
    import optuna

    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS)
    asked = _study(space, trials, maximize=maximize, pruner=pruner).ask()
    for number, score in enumerate(scores):
        asked.report(score, number)
    return asked.should_prune()


def _study(space: Space, trials: Sequence[Trial], *, maximize: bool, **options: Any) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if maximize else "minimize", **options)
    study.add_trials([_frozen(space, trial) for trial in trials if trial.state != "running"])
    return study


def _frozen(space: Space, trial: Trial) -> optuna.trial.FrozenTrial:
    """A trial as optuna knows it.

    Evaluations are numbered, not named by steps: the third one of a trial is compared with the third ones of others,
    whatever their length. A trial that diverged is worse than all: as if it had been pruned before the first of them.
    """
    import optuna

    states = optuna.trial.TrialState
    scores = [] if trial.state == "diverged" else [score for _, score in trial.evaluations]
    return optuna.trial.create_trial(
        state=states.COMPLETE if trial.state == "finished" else states.PRUNED,
        value=trial.score,
        params={one.key: _parameter(one, trial.values[one.key]) for one in space},
        distributions=_distributions(space),
        intermediate_values=dict(enumerate(scores)),
    )


def _distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    from optuna import distributions

    found: dict[str, distributions.BaseDistribution] = {}
    for one in space:
        if isinstance(one, Choice):
            found[one.key] = distributions.CategoricalDistribution([_parameter(one, value) for value in one.values])
        elif one.whole:
            found[one.key] = distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
        else:
            found[one.key] = distributions.FloatDistribution(one.low, one.high, log=one.log)
    return found


def _parameter(one: Range | Choice, value: Any) -> Any:
    """A value as optuna takes it, for which a choice is one of texts."""
    return json.dumps(value) if isinstance(one, Choice) else value


def _value(one: Range | Choice, parameter: Any) -> Any:
    return json.loads(parameter) if isinstance(one, Choice) else one.rounded(parameter)
