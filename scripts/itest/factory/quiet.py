"""Refusals that are part of making up a value stay out of PostgreSQL's log, where they would bury what matters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row

SILENCE = "SELECT current_setting('log_min_messages'), set_config('log_min_messages', 'panic', false)"
RESTORE = "SELECT set_config('log_min_messages', %s, false)"


@contextmanager
def quiet(conn: Connection[Any]) -> Iterator[None]:
    """This session's errors are not logged as long as the block lasts. They are where it is no superuser's.

    For the session, not the transaction: SET LOCAL would last beyond the block where a test has a transaction open.
    """
    if conn.info.parameter_status("is_superuser") != "on":
        yield
        return
    cursor = conn.cursor(row_factory=tuple_row)
    before, _ = cursor.execute(SILENCE).fetchone() or ("warning", "")
    try:
        yield
    finally:
        if not conn.closed:  # as when PostgreSQL went away, which is the error to see
            cursor.execute(RESTORE, [before])
