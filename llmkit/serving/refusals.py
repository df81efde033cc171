"""The one form of all refusals."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from llmkit.serving.limits import Limits


class Refused(Exception):
    """A request that is not answered. `remedy` says what its sender can do."""

    def __init__(self, status: int, *problems: str, remedy: str, retry_after: int | None = None) -> None:
        super().__init__(status)  # nothing of the request: exceptions may be logged
        self.status, self.problems, self.remedy, self.retry_after = status, problems, remedy, retry_after

    def response(self) -> JSONResponse:
        """The answer to its sender."""
        headers = {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        # Escaped, so that half a surrogate pair that a problem quotes can be sent.
        return _Escaped(
            {"error": {"status": self.status, "problems": list(self.problems), "remedy": self.remedy}},
            status_code=self.status,
            headers=headers,
        )


class _Escaped(JSONResponse):
    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


class ErrorBody(BaseModel):
    """Why a request was refused."""

    status: int
    problems: list[str]
    remedy: str = Field(description="What to do about it.")


class Error(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorBody


def too_long(characters: int, limits: Limits) -> Refused:
    """The refusal of a request with too much text."""
    return Refused(
        413,
        f"{characters:,} characters of text; a request may have {limits.characters:,}",
        remedy="send less text in a request, or start the server with a larger --max-characters",
    )


def too_late(limits: Limits) -> Refused:
    """The refusal of a request that took too long."""
    return Refused(
        504,
        f"no answer in {limits.seconds:g} seconds",
        remedy="send less text, or start the server with a larger --timeout",
    )


def answer_errors(app: FastAPI) -> None:
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
