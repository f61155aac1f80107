"""The schema that a baseline lives in: copies of rows, values of sequences, the catalogue, and what notices DDL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import Connection

from itest.data import catalogue, relations, restoring, roles
from itest.data.relations import Relation, literal, order
from itest.data.restoring import EVENT_TRIGGERS, LARGE_OBJECTS, Strategy, differs
from itest.data.sessions import GRACE

MIGRATED, SEEDED = BASELINES = ("itest_migrated", "itest_seeded")  # schemas, both ours alone

WRITERS = 8  # transactions that may have written the rows of one seeded table

# What a reset needs of its session, whatever the settings of role, database and server. The role `replica` switches
# foreign keys and ordinary triggers off, so that tables can be emptied and filled in any order; it is a setting of the
# session, as changing it throws away every plan. A deadlock is found at once, and by us: so it is ours that ends. The
# search_path stays as it is: a trigger that is ENABLEd ALWAYS, or a generated column, may rely on it.
SETTINGS = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",
    "standard_conforming_strings": "on",
    "client_min_messages": "warning",
    "jit": "off",
}
PRIVILEGED = {"session_replication_role": "replica", "deadlock_timeout": "10ms"}


def prepare(
    conn: Connection,
    baseline: str = SEEDED,
    *,
    fingerprint: str = "",
    strategy: Strategy = "delete",
    lock_timeout: float = GRACE,
) -> None:
    """Take the database as it is now for a baseline, replacing an older one. conn: in autocommit; a superuser, or with
    strategy `truncate` the owner of all tables.

    fingerprint: what the baseline was made from. lock_timeout: seconds that a reset may wait for a lock of others.
    Raises ItestError (data) for tables that `truncate` could not fill again.
    """
    with conn.transaction():
        conn.execute(settings(strategy, "LOCAL").encode())
        statements = script(relations.read(conn), baseline, strategy, lock_timeout)
        comment = f"COMMENT ON SCHEMA {baseline} IS {literal(fingerprint)}"
        conn.execute("; ".join([*statements, comment]).encode())
        _few_writers(conn, baseline)


def _few_writers(conn: Connection, baseline: str) -> None:
    """Rows of a table that many transactions wrote are written anew by one: a reset asks each row for its writer."""
    asked = f"UPDATE {baseline}.objects SET xids = '{{}}' WHERE cardinality(xids) > {WRITERS} RETURNING oid"
    if conn.execute(asked.encode()).fetchone():
        conn.execute(f"SELECT {baseline}.reset(0, 'now')".encode())


def settings(strategy: Strategy, scope: str = "SESSION") -> str:
    """Statements that make a session, or with scope LOCAL a transaction, fit for a reset."""
    wanted = SETTINGS | (PRIVILEGED if strategy == "delete" else {})
    return "; ".join(f"SET {scope} {name} = '{value}'" for name, value in wanted.items())


def script(found: Sequence[Relation], baseline: str, strategy: Strategy, lock_timeout: float) -> Iterator[str]:
    """The statements that make a baseline's schema, replacing an older one."""
    yield f"DROP SCHEMA IF EXISTS {baseline} CASCADE"
    yield f"CREATE SCHEMA {baseline}"
    for one in found:
        if one.kind != "S" and one.seeded:  # logged, unlike a scratch table: a crash must not empty the baseline
            yield f"CREATE TABLE {one.copy(baseline)} AS SELECT {one.listed} FROM ONLY {one.name}"
    yield f"""CREATE TABLE {baseline}.objects (oid oid, kind "char", name text, listed text, copy text, place int,
        empty text, refill text, before text, after text, rows bigint, xids xid[], last_value bigint,
        is_called boolean)"""
    yield from _objects(found, baseline, strategy)
    # A sequence's first nextval after setval is written to the log, so it takes a transaction id, as every write does.
    yield f"SELECT setval(oid::regclass, last_value, is_called) FROM {baseline}.objects WHERE kind = 'S'"
    yield f"CREATE SEQUENCE {baseline}.ddl"
    if strategy == "delete":
        yield from _event_triggers(baseline)
    yield f"SET LOCAL {catalogue.LABELLED}"
    yield f"CREATE TABLE {baseline}.catalogue AS {catalogue.query('pg_current_xact_id()::xid')}"
    superuser = strategy == "delete"
    yield f"""CREATE TABLE {baseline}.state AS SELECT '{strategy}'::text AS strategy,
        pg_current_xact_id()::xid AS since, 1::bigint AS ddl, {EVENT_TRIGGERS.format(baseline=baseline)} AS events,
        {roles.SIGNATURE if superuser else "0::bigint"} AS roles"""
    yield f"CREATE TABLE {baseline}.large_objects AS {LARGE_OBJECTS}"
    if superuser:
        yield f"CREATE TABLE {baseline}.roles AS {roles.QUERY}"
    yield "SET LOCAL search_path = DEFAULT"
    yield restoring.function(found, baseline, strategy, lock_timeout)


def _objects(found: Sequence[Relation], baseline: str, strategy: Strategy) -> Iterator[str]:
    places = {oid: place for place, oid in enumerate(order(found) if strategy == "truncate" else [])}
    rows = []
    for one in found:
        counted = one.seeded and one.kind != "S"
        copy = one.copy(baseline) if counted else ""
        texts = [
            one.name,
            one.listed,
            copy,
            _empty(one, baseline),
            _refill(one, baseline),
            *_switches(one, strategy),
        ]
        name, listed, copy, *statements = map(literal, texts)
        rows.append(
            f"SELECT {one.oid}::oid, '{one.kind}'::\"char\", {name}, {listed}, {copy}, {places.get(one.oid, 0)},"
            f" {', '.join(statements)},"
            + (f" (SELECT count(*) FROM {one.copy(baseline)})," if counted else " 0,")
            + (f" ARRAY(SELECT x.xmin FROM ONLY {one.name} x GROUP BY 1)," if counted else " '{}'::xid[],")
            + f" {one.value[0]}, {one.value[1]}"
        )
    if rows:
        yield f"INSERT INTO {baseline}.objects {' UNION ALL '.join(rows)}"


def _empty(one: Relation, baseline: str) -> str:
    if one.kind == "m":
        return f"SELECT {differs(one, baseline)}"
    if one.kind == "S":
        return ""
    return f"TRUNCATE ONLY {one.name} RESTART IDENTITY CASCADE"


def _refill(one: Relation, baseline: str) -> str:
    if one.kind == "m":
        return f"REFRESH MATERIALIZED VIEW {one.name}"
    if one.kind == "S" or not one.seeded:
        return ""
    return one.refill(baseline)


def _switches(one: Relation, strategy: Strategy) -> tuple[str, str]:
    """Statements that switch its triggers and rules off and on, for an owner who can't take the role `replica`."""
    if strategy == "delete":
        return "", ""
    off = [f"ALTER TABLE {one.name} DISABLE {what.split(' ', 1)[1]}" for what in one.enabled]
    on = [f"ALTER TABLE {one.name} {what.replace('=', ' ', 1)}" for what in one.enabled]
    return "; ".join(off), "; ".join(on)


def _event_triggers(baseline: str) -> Iterator[str]:
    """Count changes of the schema in a sequence, whose nextval no rollback undoes, whoever makes them.

    Temporary objects and those of ours don't count, nor does a refresh: a view's rows are compared as a table's are.
    https://www.postgresql.org/docs/current/functions-event-triggers.html
    """
    for event, objects, temporary in (
        ("ddl_command_end", "pg_event_trigger_ddl_commands()", "coalesce(schema_name, '') = 'pg_temp'"),
        ("sql_drop", "pg_event_trigger_dropped_objects()", "is_temporary"),
    ):
        yield f"""CREATE FUNCTION {baseline}.{event}() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog AS $$ BEGIN
                IF tg_tag <> 'REFRESH MATERIALIZED VIEW' AND EXISTS (
                    SELECT FROM {objects} WHERE NOT ({temporary} OR coalesce(schema_name, '') ~ '^itest_'
                           OR object_type IN ('schema', 'event trigger') AND object_identity ~ '^itest_')) THEN
                    PERFORM nextval('{baseline}.ddl');
                END IF;
            END $$"""
        yield f"CREATE EVENT TRIGGER {baseline}_{event} ON {event} EXECUTE FUNCTION {baseline}.{event}()"
        yield f"ALTER EVENT TRIGGER {baseline}_{event} ENABLE ALWAYS"
    yield f"SELECT setval('{baseline}.ddl', 1)"
