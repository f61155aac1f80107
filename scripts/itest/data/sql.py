"""Running SQL files: a whole file in one round trip, and when a statement fails, its line and PostgreSQL's own words.

PostgreSQL splits the file itself (simple query protocol); it is split here only to refuse one that could not work, to
explain a failure, or where each statement must be sent alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import psycopg
from psycopg import Connection, generators
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import Diagnostic, LockNotAvailable
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from itest.data import sqlsplit
from itest.data.datafile import DataFile
from itest.errors import ItestError

COPYING = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)

# What a file may leave behind in its session: pg_dump empties search_path, others change the role.
RESTORE = "RESET ROLE; RESET SESSION AUTHORIZATION; RESET ALL"

SHOWN = 120  # characters of a long line that a message shows

# The opening of a statement that begins or ends a transaction; ROLLBACK TO does neither.
TRANSACTION = re.compile(
    r"(BEGIN|START TRANSACTION|COMMIT|END|ABORT|PREPARE TRANSACTION|ROLLBACK(?! (?:(?:WORK|TRANSACTION) )?TO\b))(?!\S)"
)

# https://www.postgresql.org/docs/current/view-pg-locks.html
HOLDERS = """
    SELECT a.pid, a.application_name, a.state, extract(epoch FROM clock_timestamp() - a.xact_start)::float AS seconds,
           a.query, coalesce(string_agg(DISTINCT c.oid::regclass::text, ', '), 'other locks') AS held
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    LEFT JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm')
        AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^(itest_|pg_toast)')
    WHERE l.granted AND l.locktype = 'relation' AND l.relation >= 16384 AND a.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (%(readers)s OR l.mode <> 'AccessShareLock')
    GROUP BY a.pid, a.application_name, a.state, a.xact_start, a.query ORDER BY a.xact_start
"""


def connect(dsn: str, application: str, *, lock_timeout: float) -> Connection:
    """A session in autocommit, named for pg_stat_activity, that waits at most lock_timeout seconds for any lock.

    Raises ItestError (service) where PostgreSQL doesn't answer; the message never holds the password.
    """
    given = conninfo_to_dict(dsn).get("options") or ""
    options = f"{given} -c lock_timeout={lock_timeout * 1000:.0f}"
    try:
        return psycopg.connect(
            dsn, autocommit=True, application_name=application, client_encoding="utf8", options=options
        )
    except psycopg.OperationalError as error:
        where = conninfo_to_dict(dsn)
        place = f"{where.get('host', 'localhost')}:{where.get('port', 5432)}/{where.get('dbname', '')}"
        cause = str(error).strip().splitlines()[-1]
        hint = "make ps shows what runs, make logs why it doesn't"
        raise ItestError("service", f"postgres {place}: {cause}", hint=hint, cause="connect") from error


def refuse(file: DataFile, hint: str) -> None:
    """What can be known without a server. Raises ItestError (data) for a file without statements or that would end the
    transaction it runs in; `hint` says what to do about the latter."""
    for piece in _statements(file):
        word = TRANSACTION.match(sqlsplit.opening(file.text[piece], 3))
        if word:
            problem = f"{word[1]} in a file that runs inside a transaction"
            raise file.error(problem, line=file.line_at(piece.start), hint=hint)


def refuse_empty(file: DataFile) -> None:
    """Raises ItestError (data) for a file without any statement."""
    _statements(file)


def _statements(file: DataFile) -> list[slice]:
    found = sqlsplit.statements(file.text)
    if not found:
        raise file.error("empty: it has no statement", hint=f"write it, or rm {file.path}")
    return found


def run(conn: Connection, file: DataFile) -> None:
    """Run a whole file, in one round trip, inside the transaction that is open on the connection.

    Raises ItestError (data) with line, statement and PostgreSQL's message. Session settings are as before afterwards.
    """
    results = _send(conn, file, file.text)
    failed = _failed(results)
    if failed is not None:
        pieces = sqlsplit.statements(file.text)
        raise _explain(conn, file, failed, start=pieces[min(len(results), len(pieces)) - 1].start, base=0)
    if conn.info.transaction_status != TransactionStatus.INTRANS:
        raise file.error("it ended the transaction that it runs in", hint="remove its COMMIT or ROLLBACK")
    conn.execute(RESTORE)


def run_each(
    conn: Connection, file: DataFile, *, start: int = 0, report: Callable[[int], None] = lambda _: None
) -> None:
    """Run a file statement by statement, each in a transaction of its own, as CREATE INDEX CONCURRENTLY needs.

    start: so many statements have taken effect before. report: hears how many have now, after each that is committed.
    Raises ItestError (data) that also says which statements before the failing one took effect.
    """
    pieces = sqlsplit.statements(file.text)
    for index, piece in enumerate(pieces[start:], start):
        failed = _failed(_send(conn, file, file.text[piece]))
        if failed is not None:
            error = _explain(conn, file, failed, start=piece.start, base=piece.start)
            raise _half_done(file, error, pieces[:index])
        if conn.info.transaction_status == TransactionStatus.IDLE:
            report(index + 1)
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise file.error("it leaves a transaction open", hint="end it with COMMIT")
    conn.execute(RESTORE)


def failure(file: DataFile, error: psycopg.Error, prefix: str = "", *, line: int = 0, evidence: str = "") -> ItestError:
    """PostgreSQL's refusal of something in a file, with what it said beside its message."""
    said = prefix + (error.diag.message_primary or str(error).strip())
    lines = [said, *([evidence] if evidence else []), *details(error.diag)]
    return file.error("\n".join(lines), line=line, hint=_mend(file, line))


class Holder(NamedTuple):
    """A session that holds locks. seconds: since its transaction began; held: tables of the project's."""

    pid: int
    application_name: str
    state: str
    seconds: float | None
    query: str
    held: str

    def __str__(self) -> str:
        who = f"pid {self.pid} ({self.application_name or 'unnamed'})"
        return f"{who}, {self.state} for {self.seconds or 0:.1f} s, holds {self.held}: {clip(self.query)}"


def holding(conn: Connection, *, readers: bool = True) -> list[Holder]:
    """The other sessions that hold a lock on a table, oldest transaction first; readers too, or only those that change
    or lock rows."""
    return [Holder(*row) for row in conn.execute(HOLDERS, {"readers": readers}).fetchall()]


def holders(conn: Connection) -> str:
    """One line for each other session that holds a lock on a table, oldest transaction first."""
    return "\n".join(f"  {one}" for one in holding(conn)) or "  it is gone by now"


def _send(conn: Connection, file: DataFile, text: str) -> list[PGresult]:
    """One result a statement, up to the first that failed: cursor.execute would not tell how many came before it."""
    try:
        conn.pgconn.send_query(text.encode())
        return conn.wait(generators.execute(conn.pgconn))
    except psycopg.OperationalError as error:
        hint = "make logs SUITE=… shows what became of PostgreSQL"
        raise file.error(f"connection lost: {str(error).strip()}", hint=hint) from error


def _failed(results: list[PGresult]) -> PGresult | None:
    last = results[-1]
    return last if last.status in (ExecStatus.FATAL_ERROR, *COPYING) else None


def _explain(conn: Connection, file: DataFile, failed: PGresult, *, start: int, base: int) -> ItestError:
    """Why a statement failed. start: its offset in the file; base: the offset that PostgreSQL counts positions from."""
    said = Diagnostic(failed, "utf-8")
    position = int(said.statement_position or 0)
    offset = base + position - 1 if position else start
    line = file.line_at(offset)
    problem, hint = _cause(conn, file, failed, said, line)
    lines = [problem, *_excerpt(file.text, offset, line, mark=position > 0), *details(said)]
    if said.sqlstate == LockNotAvailable.sqlstate:
        conn.execute("ROLLBACK")  # or nothing can be asked
        lines += ["  held by:", holders(conn)]
    return file.error("\n".join(lines), line=line, hint=hint or _mend(file, line))


def _half_done(file: DataFile, error: ItestError, done: Sequence[slice]) -> ItestError:
    """The same error with what took effect before it, which no rollback undoes."""
    lines = ", ".join(str(file.line_at(piece.start)) for piece in done)
    message = f"{error.message}\n  took effect before: {f'the statements at lines {lines}' if done else 'nothing'}"
    hint = f"undo those of {file.path} by hand or make them repeatable (IF NOT EXISTS), then run again"
    return ItestError(error.category, message, hint=hint if done else error.hint, cause=error.cause)


def _cause(conn: Connection, file: DataFile, failed: PGresult, said: Diagnostic, line: int) -> tuple[str, str]:
    """The message and, where PostgreSQL's own would mislead, a better hint."""
    text = "".join(file.text.split("\n")[line - 1 : line]).strip()
    if failed.status in COPYING:
        conn.close()  # it waits for data that won't come
        return "COPY from or to the client: a file has no data for it", "write INSERT INTO … VALUES …"
    if said.sqlstate == "42601" and text.startswith("\\"):
        return f"{text.split()[0]} is a command of psql, not SQL", "remove it; pg_dump --inserts writes plain SQL"
    if said.sqlstate == "42601" and re.search(r"\bCOPY\b[^;]*\bFROM\s+STDIN\b", file.text, re.IGNORECASE):
        return "COPY … FROM STDIN: only psql can read data out of a script", "write INSERT, as pg_dump --inserts does"
    return said.message_primary or failed.error_message.decode(errors="replace").strip(), ""


def details(said: Diagnostic) -> Iterator[str]:
    """What PostgreSQL says beside its message, a line each."""
    fields = {
        "DETAIL": said.message_detail,
        "HINT": said.message_hint,
        "QUERY": said.internal_query,
        "CONTEXT": said.context,
        "SQLSTATE": said.sqlstate,
    }
    for name, value in fields.items():
        if value:
            yield f"  {name}: " + value.replace("\n", "\n    ")


def _mend(file: DataFile, line: int) -> str:
    place = f"{file.path}:{line}" if line else str(file.path)
    return f"correct {place} and run again; nothing of it was applied"


def _excerpt(text: str, offset: int, line: int, mark: bool) -> list[str]:
    """The line that holds an offset, and with `mark` a caret under it; long lines are cut around the offset."""
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    whole = text[start : end if end >= 0 else len(text)].rstrip("\r")
    cut = max(0, offset - start - SHOWN // 2) if len(whole) > SHOWN else 0
    gutter = f"  {line} | "
    shown = [gutter + ("…" if cut else "") + whole[cut : cut + SHOWN].expandtabs(4)]
    if mark:
        before = ("…" if cut else "") + whole[cut : offset - start].expandtabs(4)
        shown.append(" " * (len(gutter) - 2) + "| " + " " * len(before) + "^")
    return shown


def clip(text: str) -> str:
    """The text on one line of bounded length."""
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else words[: SHOWN - 1] + "…"
