"""The progress of a training run, and log.jsonl."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from statistics import fmean, pstdev
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.models.packed_attention import uses_kernel
from llmkit.system.console import count, duration, is_main, say, warn
from llmkit.system.progress import Progress, Rate
from llmkit.system.run_folder import RunDir
from llmkit.tasks.values import IGNORED
from llmkit.training.flops import FlopCounter, peak_flops
from llmkit.training.schedule import NEVER, Schedule
from llmkit.training.trackers.mirror import Mirror

# Warn of a loss this far above the mean of the last ten: by standard deviations, by a share of the mean, and by a share
# of the first loss. Where little of that is left, one hard example is many times the mean.
SPIKE_DEVIATIONS, SPIKE_SHARE, SPIKE_SHARE_OF_FIRST = 4.0, 0.2, 0.05


class TrainingLog(TrainerCallback):
    """Shows the progress and writes log.jsonl, which `mirror` follows.

    Throughput is in tokens without padding, without evaluations. In log.jsonl it is that since the last log line; the
    progress shows that of late. `peak_share` is the FLOP/s of the steps, padding included where it is computed, as a
    share of the device's peak.
    """

    def __init__(
        self,
        run: RunDir,
        schedule: Schedule,
        name: str,
        model: PreTrainedModel,
        arguments: TrainingArguments,
        mirror: Mirror | None = None,
    ) -> None:
        self._run, self._schedule, self._arguments, self._mirror = run, schedule, arguments, mirror
        self._progress = Progress(name)
        self._counter = FlopCounter(model)
        self._has_kernel = uses_kernel(model)
        self._peak = peak_flops(arguments.device, bf16=arguments.bf16)
        self._reset()
        # For the progress: values of the last log line, and tokens of late, padding included.
        self._loss, self._real_share, self._peak_share = "", 1.0, ""
        self._speed, self._step_tokens = Rate(), 0
        self._losses: deque[float] = deque(maxlen=10)
        self._first: float | None = None  # the first loss that was logged

    def _reset(self) -> None:
        self._tokens, self._began = 0, time.monotonic()
        self._flops: Tensor | float = 0.0
        self._real: Tensor | int = 0

    def add(self, inputs: Mapping[str, Tensor]) -> None:
        """Count a micro-batch's tokens and FLOP. Counts of what is in tensors stay on the GPU until the next log line,
        since reading them would make the CPU wait."""
        batch, length = inputs["input_ids"].shape
        tokens = len(inputs["token_places"]) if "token_places" in inputs else batch * length
        self._tokens += tokens
        self._step_tokens += tokens
        self._real += inputs["attention_mask"].sum() if "attention_mask" in inputs else tokens
        # The kernel computes the blocks of the rows only. A mask hides the rest once it is computed.
        rows = inputs["cu_seq_lens"].diff().long() if self._has_kernel else None
        if "masked_positions" in inputs:
            targets = len(inputs["masked_positions"])
        else:  # labels for a sequence, of which several are a row of numbers, or one for each token
            labels = inputs["labels"]
            targets = batch if labels.ndim == 1 or labels.is_floating_point() else batch * length
        written = 0
        if "decoder_input_ids" in inputs:
            written = inputs["decoder_input_ids"].shape[1]
            self._tokens += batch * written
            self._step_tokens += batch * written
            self._real += inputs["labels"].ne(IGNORED).sum()
        self._flops += self._counter.of(batch, length, tokens=tokens, rows=rows, targets=targets, written=written)

    def start(self) -> None:
        """Start the trackers. The log has been cut back to the checkpoint."""
        if self._mirror:
            self._mirror.start(self._arguments)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Print the length of the run, and show its progress."""
        size = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        steps = f"{state.max_steps:,} steps" if state.max_steps < NEVER else "as many steps as time allows"
        processes = f"{args.world_size} process{'es' if args.world_size > 1 else ''}"
        say(
            f"training: {steps} of {size} examples ({args.per_device_train_batch_size} × "
            f"{args.gradient_accumulation_steps} accumulated × {processes})"
        )
        self._reset()
        self._speed.skip()
        self._progress.__enter__()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Show how far the run is."""
        self._speed.add(self._step_tokens)
        self._step_tokens = 0
        line = {
            "step": f"{state.global_step:,}" + (f"/{state.max_steps:,}" if state.max_steps < NEVER else ""),
            "loss": self._loss,
            "tokens/s": count(self._speed.per_second * self._real_share * args.world_size),
            "real": f"{self._real_share:.0%}",
            "peak": self._peak_share,
        }
        shown = {name: value for name, value in line.items() if value}
        self._progress(shown, self._schedule.share, self._schedule.left())

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Leave saving out of the speed, and the evaluation before it."""
        self._speed.skip()

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Append a line to log.jsonl, and print scores."""
        logs: dict[str, Any] = kwargs["logs"]
        if "train_runtime" in logs:
            return
        record: dict[str, Any] = {"step": state.global_step, "seconds": round(self._schedule.seconds(), 2), **logs}
        if "loss" in logs:
            self._warn_of_spike(logs["loss"], state.global_step)
            record.update(self._throughput(args.world_size))
            self._loss = f"{logs['loss']:.3f}"
        if is_main():
            self._run.log(record)
            if self._mirror:
                self._mirror.follow()
        scores = {name.removeprefix("eval_"): value for name, value in logs.items() if name.startswith("eval_")}
        if scores:
            took = duration(scores.pop("runtime", 0.0))
            shown = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
            say(f"step {state.global_step:,}: {shown}  ({took})")
            self._reset()
            self._speed.skip()

    def _warn_of_spike(self, loss: float, step: int) -> None:
        """Warn if the loss is far above the recent ones."""
        if self._first is None:
            self._first = loss
        if len(self._losses) == self._losses.maxlen:
            mean = fmean(self._losses)
            least = max(SPIKE_SHARE * mean, SPIKE_SHARE_OF_FIRST * self._first)
            if loss > mean + max(SPIKE_DEVIATIONS * pstdev(self._losses), least):
                warn(f"the loss rose to {loss:.3f} at step {step:,}, from a mean of {mean:.3f}")
        self._losses.append(loss)

    def _throughput(self, processes: int) -> dict[str, float]:
        """The throughput of all processes since the last log line, assuming that each equals this one."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        self._real_share = float(self._real) / max(self._tokens, 1)  # none in a step that others shared
        throughput = {
            "tokens_per_second": round(self._tokens * self._real_share * processes / seconds, 1),
            "real_token_share": round(self._real_share, 4),
        }
        if self._peak is not None:
            share = float(self._flops) / seconds / self._peak
            self._peak_share = f"{share:.0%}"
            throughput["peak_share"] = round(share, 4)
        self._reset()
        return throughput

    def stop(self) -> None:
        """Show no progress any more, however the training ended."""
        self._progress.__exit__()
