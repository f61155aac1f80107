"""Accounts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from pydantic import BaseModel, StringConstraints

from shop.auth import CurrentUser, User
from shop.database import Pool, one
from shop.passwords import hash_password
from shop.problems import Problem

router = APIRouter(tags=["users"])

Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
# An upper bound too: hashing takes time that a stranger shouldn't choose.
NewPassword = Annotated[str, StringConstraints(min_length=8, max_length=128)]


class NewUser(BaseModel):
    """What it takes to register."""

    email: Email
    password: NewPassword


@router.post("/users", status_code=201)
def register(new: NewUser, pool: Pool) -> User:
    """Open an account, as a customer."""
    password_hash = hash_password(new.password)
    try:
        with pool.connection() as connection, connection.cursor(row_factory=class_row(User)) as cursor:
            cursor.execute(
                "INSERT INTO users (email, password_hash) VALUES (%s, %s) RETURNING id, email, role",
                [new.email, password_hash],
            )
            return one(cursor)
    except UniqueViolation:
        raise Problem(409, "There is an account with this address already") from None


@router.get("/me", response_model=User)
def me(user: CurrentUser) -> User:
    """The account that the access token belongs to."""
    return user
