"""Every error as problem details (RFC 9457): application/problem+json with status, title and detail."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"

# What the API's description says about each operation's errors.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Problem details",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            }
        },
    }
}


class Problem(Exception):
    """Raised by a handler; `extra` are further members of the answer, as RFC 9457 section 3.2 allows."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **extra: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.extra = extra


def install(app: FastAPI) -> None:
    """Make the application answer every error with problem details."""
    app.exception_handler(Problem)(_problem)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(psycopg.DataError)(_unstorable)
    for unavailable in (PoolTimeout, psycopg.OperationalError, psycopg.errors.UndefinedTable):
        app.exception_handler(unavailable)(_unavailable)
    app.exception_handler(Exception)(_bug)


def _answer(status: int, detail: str | None, headers: Mapping[str, str] | None = None, **extra: object) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    return JSONResponse(body | extra, status, headers, MEDIA_TYPE)


async def _problem(request: Request, error: Problem) -> JSONResponse:
    return _answer(error.status, error.detail, error.headers, **error.extra)


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    """Starlette's own: no such path, method not allowed."""
    phrase = HTTPStatus(error.status_code).phrase
    return _answer(error.status_code, None if error.detail == phrase else error.detail, error.headers)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    return _answer(422, "The request is not valid", errors=[_validation_error(each) for each in error.errors()])


def _validation_error(error: Mapping[str, Any]) -> dict[str, str]:
    """One error as in the example of RFC 9457 section 3: a JSON pointer into the body, or the parameter's name."""
    place, *path = error["loc"]
    if place != "body":
        return {"parameter": str(path[0]), "detail": error["msg"]}
    if error["type"] == "json_invalid":  # its path is a character's offset, not a member
        path = []
    return {"pointer": "#" + "".join(f"/{part}" for part in path), "detail": error["msg"]}


async def _unstorable(request: Request, error: psycopg.DataError) -> JSONResponse:
    """Well-formed, but nothing that PostgreSQL can store, as a text with a NUL character."""
    return _answer(422, str(error).splitlines()[0])


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    return _answer(503, "The database is not available, see /health/ready", {"Retry-After": "1"})


async def _bug(request: Request, error: Exception) -> JSONResponse:
    """Says nothing of the cause to the client; the server logs the traceback."""
    return _answer(500, None)
