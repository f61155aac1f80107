"""Login, refresh and logout.

A login opens a session with an access token and a refresh token. Each refresh token works once: refreshing answers with
the next one. One that comes back a second time has been stolen, from the client or by it, so the whole session ends
(RFC 9700 section 4.14.2).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from psycopg import Connection
from pydantic import BaseModel, StringConstraints

from shop.auth import CurrentUser, sign_access_token, unauthorized
from shop.database import Pool, one
from shop.passwords import verify_password
from shop.settings import Settings

router = APIRouter(tags=["sessions"])


class Credentials(BaseModel):
    """What it takes to log in."""

    email: str
    password: Annotated[str, StringConstraints(max_length=128)]


class RefreshRequest(BaseModel):
    """The refresh token of the last login or refresh."""

    refresh_token: str


class Tokens(BaseModel):
    """As an OAuth 2 token response (RFC 6749 section 5.1)."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int


@router.post("/login")
def login(credentials: Credentials, request: Request, pool: Pool) -> Tokens:
    """Open a session."""
    with pool.connection() as connection:
        user = connection.execute(
            "SELECT id, password_hash FROM users WHERE lower(email) = lower(%s)", [credentials.email]
        ).fetchone()
    user_id, password_hash = user or (None, None)
    if not verify_password(credentials.password, password_hash):
        raise unauthorized("Address or password is wrong")
    with pool.connection() as connection:
        (session_id,) = one(connection.execute("INSERT INTO sessions (user_id) VALUES (%s) RETURNING id", [user_id]))
        return _issue(connection, request.app.state.settings, session_id)


@router.post("/refresh")
def refresh(body: RefreshRequest, request: Request, pool: Pool) -> Tokens:
    """Trade a refresh token for new tokens."""
    token_hash = _hash(body.refresh_token)
    with pool.connection() as connection:
        token = connection.execute(
            """
            SELECT session_id, used_at IS NOT NULL, expires_at <= now(), ended_at IS NOT NULL
            FROM refresh_tokens JOIN sessions ON sessions.id = session_id
            WHERE token_hash = %s
            FOR UPDATE
            """,
            [token_hash],
        ).fetchone()
        if token:
            session_id, used, expired, ended = token
            if used:
                _end(connection, session_id)
            elif not expired and not ended:
                connection.execute("UPDATE refresh_tokens SET used_at = now() WHERE token_hash = %s", [token_hash])
                return _issue(connection, request.app.state.settings, session_id)
    # Outside the block: within it, the error would roll back the end of the session.
    raise unauthorized("The refresh token is not valid")


@router.post("/logout", status_code=204)
def logout(user: CurrentUser, pool: Pool) -> None:
    """End the session: its access and refresh tokens stop working."""
    with pool.connection() as connection:
        _end(connection, user.session_id)


def _issue(connection: Connection, settings: Settings, session_id: UUID) -> Tokens:
    token = secrets.token_urlsafe(32)
    connection.execute(
        """
        INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
        VALUES (%s, %s, now() + make_interval(secs => %s))
        """,
        [_hash(token), session_id, settings.refresh_token_seconds],
    )
    return Tokens(
        access_token=sign_access_token(settings, session_id),
        refresh_token=token,
        expires_in=settings.access_token_seconds,
    )


def _end(connection: Connection, session_id: UUID) -> None:
    connection.execute("UPDATE sessions SET ended_at = now() WHERE id = %s AND ended_at IS NULL", [session_id])


def _hash(token: str) -> bytes:
    """Tokens are long and random, so one round is enough; a password would need more."""
    return hashlib.sha256(token.encode()).digest()
