"""The HTTP interface of one model, and its OpenAPI description."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Body, FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from llmkit.recipes.finetuning import DataSection
from llmkit.serving.engine import Engine
from llmkit.serving.gate import Gate
from llmkit.serving.limits import MOST_INPUTS, Error, Limits, Refused, characters_of, too_long
from llmkit.serving.measured import TYPE, Measured
from llmkit.serving.page import FILES, file_of
from llmkit.serving.reasons import Reasons, Why
from llmkit.tasks.base import Task
from llmkit.tasks.columns import Columns
from llmkit.tasks.served import Input, Output
from llmkit.tasks.values import BadRow, Prediction

LONG = 20_000  # characters, above which a text is checked aside, so that others are heard meanwhile
STATUSES = (400, 401, 408, 413, 415, 422, 503, 504)
Read = Callable[[Columns], Sequence[Prediction]]


@dataclass(frozen=True)
class Subject:
    """The model that is served.

    name      what to call it
    task      what it was fine-tuned for, with its `data`
    runs_on   what computes it, in words
    read      (examples) → predictions
    reasons   explains predictions; or why nothing does
    """

    name: str
    task: Task[Any]
    data: DataSection
    runs_on: str
    read: Read
    reasons: Reasons | str


class Predicting:
    """Turns inputs into answers: checks them, waits for the engine, and gives up in time."""

    def __init__(self, subject: Subject, limits: Limits, engine: Engine) -> None:
        self._task, self._data, self._limits, self._engine = subject.task, subject.data, limits, engine
        self._served = subject.task.served(subject.data)

    async def examples(self, inputs: Sequence[Input], names: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
        """The inputs in canonical columns, and their characters. Raises Refused."""
        characters = characters_of([each.model_dump() for each in inputs])
        if characters > self._limits.characters:
            raise too_long(characters, self._limits)
        if characters > LONG:
            return await asyncio.to_thread(self._examples, inputs, names), characters
        return self._examples(inputs, names), characters

    def _examples(self, inputs: Sequence[Input], names: Sequence[str]) -> list[dict[str, Any]]:
        found, problems = [], []
        for number, (given, name) in enumerate(zip(inputs, names, strict=True)):
            try:
                example = self._task.example(self._served.row(given), self._data, labelled=False)
                found.append({**example, "id": str(number)})
            except BadRow as problem:
                problems.append(f"{name}{problem}")
        if problems:
            raise Refused(422, *problems, remedy="correct the text")
        return found

    async def __call__(self, inputs: Sequence[Input], names: Sequence[str]) -> list[Output]:
        """One answer per input. Raises Refused."""
        examples, characters = await self.examples(inputs, names)
        try:
            async with asyncio.timeout(self._limits.seconds):
                predictions = await self._engine.answer(examples, characters)
        except TimeoutError:
            raise _too_late(self._limits) from None
        answers = zip(predictions, examples, strict=True)
        return [self._served.answer(prediction, example) for prediction, example in answers]


def application(subject: Subject, limits: Limits, *, host: str, token: str | None) -> Gate:
    """The application behind its gate."""
    measured = Measured()
    served = subject.task.served(subject.data)
    engine = Engine(lambda examples: subject.read(_columns(examples)), measured)
    predicting = Predicting(subject, limits, engine)
    reasons = subject.reasons if isinstance(subject.reasons, Reasons) else None
    one, output = served.input, served.output

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await asyncio.to_thread(engine.stop)

    app = FastAPI(
        title=f"llmkit serve {subject.name}",
        version=version("llmkit"),
        description=f"{subject.task.title}. Every refusal has the form of the schema Error.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        lifespan=running,
        responses={status: {"model": Error} for status in STATUSES},
    )

    class Inputs(BaseModel):
        """Several inputs."""

        model_config = ConfigDict(extra="forbid", strict=True)
        inputs: list[one] = Field(min_length=1, max_length=MOST_INPUTS)  # type: ignore[valid-type]

    class Predictions(BaseModel):
        """An answer for each input, in their order."""

        predictions: list[output]  # type: ignore[valid-type]

    async def predict(given: Any) -> Any:
        """Answer one input."""
        (found,) = await predicting([given], [""])
        return _json(found)

    async def predict_batch(given: Any) -> Any:
        """Answer several inputs at once."""
        names = [f"input {number}: " for number in range(1, len(given.inputs) + 1)]
        return _json(Predictions(predictions=await predicting(given.inputs, names)))

    async def explain(given: Any) -> Any:
        """Say which words carry the answer, by integrated gradients. Takes seconds, one request at a time."""
        (example,), _ = await predicting.examples([given], [""])
        assert reasons is not None
        try:
            async with asyncio.timeout(limits.seconds):
                return _json(await reasons(example))
        except TimeoutError:
            raise _too_late(limits) from None

    _post(app, "/predict", predict, one, output)
    _post(app, "/predict/batch", predict_batch, Inputs, Predictions)
    if reasons is not None:
        _post(app, "/explain", explain, one, Why)

    @app.get("/health", responses={503: {"model": Error}})
    async def health() -> dict[str, str]:
        """Whether the server answers: 503 while it stops."""
        if gate.draining or not engine.alive:
            raise Refused(503, "the server is stopping", remedy="ask another one", retry_after=1)
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        """Measurements for Prometheus."""
        return Response(measured.page(), media_type=TYPE)

    @app.get("/info")
    async def info() -> dict[str, Any]:
        """What is served, and how the page at / asks for it."""
        return {
            "model": subject.name,
            "task": subject.task.name,
            "title": subject.task.title,
            "view": served.view,
            "runs_on": subject.runs_on,
            "fields": _fields(served.input),
            "no_why": None if reasons is not None else subject.reasons,
            "limits": {"characters": limits.characters, "waiting": limits.waiting, "seconds": limits.seconds},
            "llmkit": version("llmkit"),
        }

    for path in FILES:
        app.get(path, include_in_schema=False)(file_of(path))
    _answer_errors(app)
    paths = frozenset(getattr(route, "path", "") for route in app.routes)
    public = frozenset(FILES) | {"/health"}
    gate = Gate(app, limits=limits, measured=measured, host=host, token=token, paths=paths, public=public)
    return gate


def _post(app: FastAPI, path: str, endpoint: Any, takes: type[BaseModel], gives: type[BaseModel]) -> None:
    """Add an endpoint that takes and gives these models. It validates its answers itself."""
    endpoint.__annotations__ = {"given": Annotated[takes, Body()]}
    responses: dict[int | str, dict[str, Any]] = {200: {"model": gives}}
    app.post(path, response_model=None, responses=responses)(endpoint)


def _json(found: BaseModel) -> Response:
    return Response(found.model_dump_json(), media_type="application/json")


def _columns(examples: Sequence[Mapping[str, Any]]) -> Columns:
    return Columns({name: [example[name] for example in examples] for name in examples[0]})


def _fields(model: type[Input]) -> list[dict[str, Any]]:
    """The fields of an input that the page has: a name, a title, and whether it is a line or a text."""
    return [
        {
            "name": name,
            "title": field.title or name.capitalize(),
            "line": name == "question",
            "example": (field.examples or [""])[0],
        }
        for name, field in model.model_fields.items()
        if field.json_schema_extra is None
    ]


def _too_late(limits: Limits) -> Refused:
    return Refused(
        504,
        f"no answer in {limits.seconds:g} seconds",
        remedy="send less text, or start the server with a larger --timeout",
    )


def _answer_errors(app: FastAPI) -> None:
    """Give every error the form of Refused."""

    @app.exception_handler(Refused)
    async def refused(_: Any, error: Refused) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Any, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            what = f"the body is not JSON: {first['ctx']['error']} at byte {first['loc'][1]}"
            return Refused(400, what, remedy="send an object as /docs describes it").response()
        # Without the input, which pydantic would repeat.
        problems = [
            f"{'.'.join(map(str, each['loc'][1:])) or 'the body'}: {each['msg']}" for each in error.errors()[:3]
        ]
        return Refused(422, *problems, remedy="see /docs for what the body holds").response()

    @app.exception_handler(HTTPException)
    async def other(_: Any, error: HTTPException) -> JSONResponse:
        response = Refused(error.status_code, str(error.detail), remedy="see /docs for what there is").response()
        response.headers.update(error.headers or {})
        return response
