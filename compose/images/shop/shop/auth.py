"""Who is asking: access tokens (signed, short-lived) and the dependencies that demand a user or an admin."""

from __future__ import annotations

import time
from typing import Annotated, Literal
from uuid import UUID

import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg.rows import class_row
from pydantic import BaseModel

from shop.database import Pool
from shop.problems import Problem
from shop.settings import Settings

ALGORITHM = "HS256"

Role = Literal["customer", "admin"]


class User(BaseModel):
    """An account, without its password."""

    id: int
    email: str
    role: Role


class Identity(User):
    """Who sent a request, and in which session."""

    session_id: UUID


def sign_access_token(settings: Settings, session_id: UUID) -> str:
    """A token for the session that is good for `access_token_seconds`."""
    now = int(time.time())
    claims = {"sid": str(session_id), "iat": now, "exp": now + settings.access_token_seconds}
    return jwt.encode(claims, settings.signing_key, ALGORITHM)


def unauthorized(detail: str) -> Problem:
    """401 with the challenge that RFC 6750 section 3 asks for."""
    return Problem(401, detail, {"WWW-Authenticate": 'Bearer realm="shop"'})


def _identity(
    request: Request,
    pool: Pool,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> Identity:
    if bearer is None:
        raise unauthorized("An access token is needed")
    try:
        key = request.app.state.settings.signing_key
        claims = jwt.decode(bearer.credentials, key, [ALGORITHM], options={"require": ["sid", "exp"]})
        session_id = UUID(claims["sid"])
    except jwt.ExpiredSignatureError:
        raise unauthorized("The access token has expired") from None
    except (jwt.InvalidTokenError, ValueError):
        raise unauthorized("The access token is not valid") from None
    # Asked each time, so that a logout or a change of role counts at once.
    with pool.connection() as connection, connection.cursor(row_factory=class_row(Identity)) as cursor:
        identity = cursor.execute(
            """
            SELECT users.id, email, role, sessions.id AS session_id
            FROM sessions JOIN users ON users.id = user_id
            WHERE sessions.id = %s AND ended_at IS NULL
            """,
            [session_id],
        ).fetchone()
    if identity is None:
        raise unauthorized("The session has ended")
    return identity


CurrentUser = Annotated[Identity, Depends(_identity)]


def _admin(user: CurrentUser) -> Identity:
    if user.role != "admin":
        raise Problem(403, "Only an admin may do this")
    return user


AdminUser = Annotated[Identity, Depends(_admin)]
