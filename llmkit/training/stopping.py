"""Early stopping: a run ends when several evaluations in a row were no better than the best one.

What it needs is in the state that the Trainer saves with each checkpoint, the same on every process. So a resumed run
stops at the same step, and one that had stopped stays stopped.
"""

from __future__ import annotations

from transformers.trainer_callback import TrainerState

from llmkit.system.console import say

STOPPED = "stopped_early"  # in log.jsonl, with the step of the best evaluation


def runs_out(state: TrainerState, metric: str, patience: int | None) -> bool:
    """Whether to stop, which is then said: so many evaluations in a row were no better.

    The evaluation of step 0 does not count: it cannot be the best, since there is no checkpoint of it.
    """
    best = state.best_global_step or 0
    since = {entry["step"] for entry in state.log_history if f"eval_{metric}" in entry and entry["step"] > best}
    if patience is None or len(since) < patience:
        return False
    say(f"stopped early: no better {metric} in {patience} evaluation{'s' * (patience > 1)}; best at step {best:,}")
    return True


def stopped_at(state: TrainerState) -> int | None:
    """The step at which a run stopped early; None if it has not."""
    steps = [int(entry["step"]) for entry in state.log_history if STOPPED in entry]
    return steps[-1] if steps else None
