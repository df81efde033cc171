"""The HTTP interface of one model, and its OpenAPI description."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Body, FastAPI, Response
from pydantic import BaseModel, Field, create_model

from llmkit.serving.engine import Engine
from llmkit.serving.gate import Gate
from llmkit.serving.limits import MOST_INPUTS, Limits
from llmkit.serving.measured import TYPE, Measured
from llmkit.serving.page import FILES, file_of
from llmkit.serving.predicting import Predicting, Subject
from llmkit.serving.reasons import Reasons, Why
from llmkit.serving.refusals import Error, Refused, answer_errors
from llmkit.tasks.columns import Columns
from llmkit.tasks.served import Input, Served

STATUSES = (400, 401, 408, 413, 415, 422, 503, 504)  # of refusals of a POST


def application(subject: Subject, limits: Limits, *, host: str, token: str | None) -> Gate:
    """The application behind its gate. `host` is the address that it is bound to."""
    measured = Measured()
    engine = Engine(lambda examples: subject.read(_columns(examples)), measured)

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
    )
    _add_answers(app, subject, Predicting(subject, limits, engine))
    for path in FILES:
        app.get(path, include_in_schema=False)(file_of(path))
    answer_errors(app)
    public = frozenset(FILES) | {"/health", "/openapi.json"}  # /docs reads the latter
    gate = Gate(app, limits=limits, measured=measured, host=host, token=token, public=public)
    _add_state(app, subject, limits, measured, lambda: engine.alive and not gate.draining)
    gate.paths = frozenset(getattr(route, "path", "") for route in app.routes)
    if token is not None:
        _describe_token(app, public)
    return gate


def _describe_token(app: FastAPI, public: frozenset[str]) -> None:
    """Say in the OpenAPI description that all but the public paths need the token."""
    described = app.openapi()  # FastAPI keeps this dict, and answers /openapi.json with it
    described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in described["paths"].items():
        if path not in public:
            for operation in operations.values():
                operation["security"] = [{"token": []}]


def _add_answers(app: FastAPI, subject: Subject, predicting: Predicting) -> None:
    """Add the paths that the model answers on."""
    served, reasons = subject.task.served(subject.data), subject.reasons
    several = create_model(
        "Inputs",
        __base__=Input,
        __doc__="Several inputs.",
        inputs=(list[served.input], Field(min_length=1, max_length=MOST_INPUTS)),  # type: ignore[name-defined]
    )
    answers = create_model(
        "Predictions",
        __doc__="An answer for each input, in their order.",
        predictions=(list[served.output], ...),  # type: ignore[name-defined]
    )

    async def predict(given: Any) -> BaseModel:
        """Answer one input."""
        (found,) = await predicting([given], [""])
        return found

    async def predict_batch(given: Any) -> BaseModel:
        """Answer several inputs at once."""
        names = [f"input {number}: " for number in range(1, len(given.inputs) + 1)]
        return answers(predictions=await predicting(given.inputs, names))

    _post(app, "/predict", predict, served.input, served.output)
    _post(app, "/predict/batch", predict_batch, several, answers)
    if isinstance(reasons, Reasons):

        async def explain(given: Any) -> BaseModel:
            """Say which words carry the answer, by integrated gradients. Takes seconds; one is made at a time."""
            return await predicting.why(given, reasons)

        _post(app, "/explain", explain, served.input, Why)


def _post(
    app: FastAPI,
    path: str,
    answer: Callable[[Any], Awaitable[BaseModel]],
    takes: type[BaseModel],
    gives: type[BaseModel],
) -> None:
    """Add a path that takes one of these models and gives the other. What it gives is not validated once more."""

    async def endpoint(given: Any) -> Response:
        return Response((await answer(given)).model_dump_json(), media_type="application/json")

    endpoint.__annotations__ = {"given": Annotated[takes, Body()]}
    refusals: dict[int | str, dict[str, Any]] = {status: {"model": Error} for status in STATUSES}
    name = path.strip("/").replace("/", " ")
    add = app.post(
        path, response_model=None, responses={200: {"model": gives}, **refusals}, name=name, description=answer.__doc__
    )
    add(endpoint)


def _add_state(
    app: FastAPI, subject: Subject, limits: Limits, measured: Measured, answering: Callable[[], bool]
) -> None:
    """Add the paths that say how the server is, and what it serves."""
    served, reasons = subject.task.served(subject.data), subject.reasons

    @app.get("/health", responses={503: {"model": Error}})
    async def health() -> dict[str, str]:
        """Whether the server answers: 503 while it stops."""
        if not answering():
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
            "fields": _fields(served),
            "no_why": None if isinstance(reasons, Reasons) else reasons,
            "limits": asdict(limits),
            "llmkit": version("llmkit"),
        }


def _fields(served: Served) -> list[dict[str, Any]]:
    """The fields of an input that the page has."""
    fields = served.input.model_fields
    return [
        {
            "name": name,
            "title": fields[name].title or name.capitalize(),
            "lines": lines,
            "example": (fields[name].examples or [""])[0],
        }
        for name, lines in served.lines.items()
    ]


def _columns(examples: Sequence[Mapping[str, Any]]) -> Columns:
    return Columns({name: [example[name] for example in examples] for name in examples[0]})
