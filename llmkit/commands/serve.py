"""`llmkit serve`: a model behind HTTP, with a page to try it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Any

import torch

from llmkit.serving.app import application
from llmkit.serving.gate import LOOPBACK
from llmkit.serving.limits import Limits
from llmkit.serving.predicting import Subject
from llmkit.serving.reasons import Reasons
from llmkit.serving.server import bound, run
from llmkit.system.console import result, say, warn
from llmkit.system.errors import Ended, UserError
from llmkit.system.machine import choose
from llmkit.tasks.columns import Columns
from llmkit.tasks.explained import Wanted
from llmkit.tasks.reading import PatientReader, open_reader
from llmkit.tasks.settings import Settings, settings_of
from llmkit.tasks.tokenizing import share_copy

if TYPE_CHECKING:
    from llmkit.commands.explain import Explainer
    from llmkit.tasks.inference import Reader


def prepare(model: str, task: str | None, overrides: Sequence[str], *, int8: bool) -> Subject:
    """Load the model. Raises UserError."""
    settings = settings_of(model, task, "what is sent", overrides)
    settings.task.served(settings.data)  # raises UserError
    reader = open_reader(settings, int8=int8)
    share_copy(reader.codec.tokenizer)
    computed_by = f"onnxruntime{', int8' if int8 else ''}; {torch.get_num_threads()} CPU threads"
    runs_on = computed_by if reader.exported else f"PyTorch; {choose('auto').why}"
    say(f"{model}: {settings.task.name}, {runs_on}")
    return Subject(
        name="/".join(Path(model).parts[-2:]),  # not where it is on this machine
        task=settings.task,
        data=settings.data,
        runs_on=runs_on,
        read=lambda examples: PatientReader(reader)(examples),  # anew, for the next texts may fit at full speed
        reasons=_reasons(settings, reader),
    )


def serve(subject: Subject, host: str, port: int, token: str | None, limits: Limits) -> None:
    """Serve it until SIGTERM or Ctrl-C, which answer what was accepted.

    Raises UserError if the address is taken, and Ended after a second Ctrl-C, which does not wait for answers.
    """
    if token is not None:
        token = token.strip()  # one from a file ends with a newline, which no header can have
        if not token:
            raise UserError("the token is empty", remedy="give one with --token or LLMKIT_TOKEN, or leave it out")
    listening = bound(host, port)
    port = listening.getsockname()[1]
    if host not in LOOPBACK and token is None:
        warn(f"whoever reaches {host}, port {port}, can use this model: there is no --token")
    gate = application(subject, limits, host=host, token=token)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if run(gate, listening, lambda: result(f"{url} answers; {url}/docs says how to ask. Ctrl-C stops it.")):
        warn("stopped at once; requests that were not answered yet were dropped")
        raise Ended(128 + SIGINT)
    say("stopped; every accepted request was answered")


def _reasons(settings: Settings, reader: Reader) -> Reasons | str:
    """What explains predictions, or why nothing does."""
    if (unexplained := settings.task.unexplained) is not None:
        return unexplained
    if reader.exported:
        return "an ONNX export has no gradients; serve the run that it was exported from"
    if find_spec("captum") is None:
        return 'it needs captum: pip install "llmkit[explain]"'
    return Reasons(_Why(settings))


class _Why:
    """Explains examples, with a model of its own: captum's hooks would change what the other one computes meanwhile.

    It is loaded when it is asked for the first time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._explainer: Explainer | None = None

    def __call__(self, example: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._explainer is None:
            from llmkit.commands.explain import Explainer

            self._explainer = Explainer(self._settings)
        one = Columns({name: [value] for name, value in example.items()})
        explained, units, gradients = self._explainer.weights(one, Wanted())
        weights = zip(units, gradients.weights.tolist(), strict=True)
        return {
            "answer": explained.answer,
            "explained": explained.what,
            "texts": [{"name": name, "text": text} for name, text in explained.texts],
            "words": [
                {"text": unit.text, "start": unit.start, "end": unit.end, "weight": weight} for unit, weight in weights
            ],
            "error": gradients.error,
        }
