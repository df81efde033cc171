"""`llmkit watch`: follow a run by what it writes, until it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.commands.runs import Listed, listed, share_of
from llmkit.system.console import count, duration, say
from llmkit.system.errors import UserError
from llmkit.system.progress import Progress
from llmkit.system.run_folder import NOT_A_RUN, RunDir

EVERY = 1.0  # seconds between looks at the log


def watch(path: Path, every: float = EVERY) -> None:
    """Print the evaluations of a run so far and its last step, then what is new, until no command writes to it.

    Raises UserError if it is no run.
    """
    run = RunDir(path)
    if not run.started:
        raise UserError(f"{path} is not a run", remedy=NOT_A_RUN)
    seen, train = 0, run.recipe()["train"]
    with Progress("step") as progress:
        while True:
            now = listed(run)  # before its log, so that what it wrote last is not missed
            log = run.log_rows()
            if len(log) < seen:
                say("the run went back to its last checkpoint")
                seen = len(log)
            for row in log[seen:]:
                _say_scores(row)
            steps = [row for row in log if "loss" in row]
            if steps and len(log) > seen:
                progress(_parts(steps[-1], now), min(share_of(train, steps[-1]), 1.0))
            seen = len(log)
            if now.state != "running":
                break
            time.sleep(every)
    _say_end(now)


def _say_scores(row: Mapping[str, Any]) -> None:
    scores = {name.removeprefix("eval_"): value for name, value in row.items() if name.startswith("eval_")}
    took = scores.pop("runtime", None)
    if scores and took is not None:
        shown = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
        say(f"step {row['step']:,}: {shown}  ({duration(took)})")


def _parts(row: Mapping[str, Any], now: Listed) -> dict[str, str]:
    speed = row.get("tokens_per_second")
    return {
        f"{row['step']:,} {now.length}": "",
        "loss": f"{row['loss']:.3f}",
        "tokens/s": count(speed) if speed is not None else "",
        "since the start": duration(row["seconds"]),
    }


def _say_end(now: Listed) -> None:
    score = "" if now.score is None else f", {now.metric} {now.score:.3f}"
    if now.state == "finished":
        say(f"{now.run} is finished{score}")
    else:
        say(f"{now.run} stopped after step {now.step:,}{score}; the command that started it goes on with --resume")
