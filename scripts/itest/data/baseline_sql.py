"""The SQL of a baseline: what there is to reset, the copies of it, and the function that brings it back.

The function is written for the tables that there are, so that PostgreSQL plans it once: to find what changed is one
statement however many tables there are, and what is restored then is only what was found.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from itest.data import catalogue, roles
from itest.data.sessions import OPEN
from itest.errors import ItestError

Strategy = Literal["delete", "truncate"]

ROUNDS = 4  # of finding and restoring: a trigger ENABLEd ALWAYS may write while its table is restored

# What a reset needs of its session, whatever the settings of role, database and server. The role `replica` switches
# foreign keys and ordinary triggers off, so that tables can be emptied and filled in any order; it is a setting of the
# session, as changing it throws away every plan. A deadlock is found at once, and by us: so it is ours that ends.
SETTINGS = {
    "search_path": "pg_catalog",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",
    "standard_conforming_strings": "on",
    "client_min_messages": "warning",
    "jit": "off",
}
PRIVILEGED = {"session_replication_role": "replica", "deadlock_timeout": "20ms"}

# Everything with rows or values of its own. Partitions are taken one by one and their parents left out, so rows return
# to where they were. What an extension keeps for itself is not the tests' to change. A size of 0 is proof of no rows,
# a larger one only a hint.
RELATIONS = """
    SELECT c.oid::bigint, c.relkind::text, format('%I.%I', n.nspname, c.relname),
           c.relkind = 'm' OR pg_relation_size(c.oid) > 0,
           c.relpersistence = 'u',
           ARRAY(SELECT quote_ident(a.attname) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                 ORDER BY a.attnum),
           EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('A', 'R'))
           OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled IN ('A', 'R')),
           ARRAY(SELECT format('%s TRIGGER %I', enabled, tgname)
                 FROM (SELECT tgname, CASE tgenabled WHEN 'A' THEN 'ENABLE=ALWAYS' WHEN 'R' THEN 'ENABLE=REPLICA'
                              ELSE 'ENABLE' END AS enabled
                       FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled <> 'D') t
                 UNION ALL
                 SELECT format('%s RULE %I', CASE ev_enabled WHEN 'A' THEN 'ENABLE=ALWAYS'
                               WHEN 'R' THEN 'ENABLE=REPLICA' ELSE 'ENABLE' END, rulename)
                 FROM pg_rewrite WHERE ev_class = c.oid AND rulename <> '_RETURN' AND ev_enabled <> 'D'),
           ARRAY(SELECT DISTINCT f.confrelid::bigint FROM pg_constraint f
                 WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid <> c.oid AND NOT f.condeferrable)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'S', 'm') AND c.relpersistence <> 't' AND (c.relkind <> 'm' OR c.relispopulated)
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^itest_'
      AND (n.nspname, c.relname) <> ('public', 'itest_migrations')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.oid
"""

EVENT_TRIGGERS = """(SELECT coalesce(bit_xor(hash_record_extended(ROW(oid, xmin), 0)), 0) FROM pg_event_trigger
    WHERE evtname !~ '^itest_' OR starts_with(evtname, '{baseline}_'))"""
LARGE_OBJECTS = (
    "SELECT oid, md5(format('%s %s %s', lomowner, lomacl, md5(lo_get(oid)))) AS digest FROM pg_largeobject_metadata"
)

# Things that are not relations are known by the oid of their catalogue.
ROLES, LARGE = 1260, 2995  # pg_authid, pg_largeobject_metadata


# The way back, one call a test. `expected`: the next transaction id if nobody was given one since the last call.
#
# Nothing changes but by a transaction with an id (an unlogged sequence is the exception), so if ours is the expected
# one, all is as it was. That goes on to be true only while no older id is in use: its owner could write later, unnoticed;
# then mark is 0, which no id ever is. `how`: look = only say whether all is as it was; patient = say so first if
# somebody's transaction is open; now = restore.
BODY = """
DECLARE
    own CONSTANT xid8 := pg_current_xact_id();
    untouched boolean;
    dirty bigint[];
    told boolean;
    number bigint;
    one record;
BEGIN
    mark := own::text::bigint;
    untouched := mark = expected AND NOT ({unlogged});
    IF how <> 'now' AND EXISTS (SELECT {open}) THEN
        verdict := 'open';
        mark := CASE WHEN untouched THEN mark ELSE 0 END;
        RETURN;
    END IF;
    IF untouched THEN
        verdict := 'clean';
        RETURN;
    END IF;
    IF how = 'look' THEN
        verdict := 'dirty';
        mark := 0;
        RETURN;
    END IF;
    IF pg_snapshot_xmin(pg_current_snapshot()) <> own THEN
        mark := 0;
    END IF;
    changed := ARRAY[]::bigint[];
    dead := 0;
    {lock}
    {ddl}
    {roles}
    FOR round IN 1..{rounds} LOOP
        dirty := {find};
        IF cardinality(dirty) = 0 THEN
            verdict := 'reset';
            RETURN;
        END IF;
        changed := changed || dirty;
        {restore}
        FOR one IN SELECT * FROM {baseline}.objects o WHERE o.oid = ANY (dirty) AND o.kind = 'm' ORDER BY o.oid LOOP
            EXECUTE one.refill;
            UPDATE {baseline}.state SET ddl = ddl + 1; -- the refresh counts as DDL
            EXECUTE one.empty INTO told;
            IF told THEN
                verdict := 'stale';
                changed := ARRAY[one.oid::bigint];
                RETURN;
            END IF;
            UPDATE {baseline}.objects SET xids = ARRAY[own::xid] WHERE oid = one.oid;
        END LOOP;
        PERFORM setval(o.oid::regclass, o.last_value, o.is_called)
            FROM {baseline}.objects o WHERE o.oid = ANY (dirty) AND o.kind = 'S';
        IF {large} = ANY (dirty) THEN
            PERFORM lo_unlink(l.oid) FROM pg_largeobject_metadata l
                WHERE NOT EXISTS (SELECT FROM {baseline}.large_objects k WHERE k.oid = l.oid);
            IF EXISTS ({kept_large} EXCEPT {large_objects}) THEN
                verdict := 'stale';
                changed := ARRAY[{large}];
                RETURN;
            END IF;
        END IF;
    END LOOP;
    verdict := 'contaminated';
    changed := dirty;
    mark := 0;
END"""
DDL = """
    SELECT d.last_value INTO number FROM {baseline}.ddl d, {baseline}.state s
        WHERE d.last_value <> s.ddl OR s.events <> {events};
    IF FOUND THEN
        verdict := 'ddl';
        mark := number;
        RETURN;
    END IF;"""
ROLES_MOVED = """
    IF {signature} <> (SELECT s.roles FROM {baseline}.state s) THEN
        changed := ARRAY[{roles}];
    END IF;"""
BY_DELETE = """
        FOR one IN SELECT * FROM {baseline}.objects o WHERE o.oid = ANY (dirty) AND o.kind = 'r' LOOP
            EXECUTE one.empty;
            GET DIAGNOSTICS number = ROW_COUNT;
            dead := dead + number;
            IF one.refill <> '' THEN
                EXECUTE one.refill;
                UPDATE {baseline}.objects SET xids = ARRAY[own::xid] WHERE oid = one.oid;
            END IF;
        END LOOP;"""
# First everything that changed is emptied; that may empty what refers to it, so what is to be filled shows afterwards.
BY_TRUNCATE = """
        told := false;
        FOR one IN SELECT * FROM {baseline}.objects o WHERE o.oid = ANY (dirty) AND o.kind = 'r' LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s)', one.name) INTO untouched;
            IF untouched THEN
                EXECUTE one.before;
                EXECUTE one.empty;
                EXECUTE one.after;
                told := true;
            END IF;
        END LOOP;
        CONTINUE WHEN told;
        SET CONSTRAINTS ALL DEFERRED;
        FOR one IN SELECT * FROM {baseline}.objects o WHERE o.oid = ANY (dirty) AND o.kind = 'r' ORDER BY o.place LOOP
            EXECUTE one.before;
            EXECUTE one.refill;
            UPDATE {baseline}.objects SET xids = ARRAY[own::xid] WHERE oid = one.oid;
        END LOOP;
        SET CONSTRAINTS ALL IMMEDIATE;
        FOR one IN SELECT * FROM {baseline}.objects o WHERE o.oid = ANY (dirty) AND o.kind = 'r' LOOP
            EXECUTE one.after;
        END LOOP;"""


@dataclass(frozen=True)
class Relation:
    """A table ('r'), sequence ('S') or materialized view ('m') to reset; name and columns are quoted.

    seeded: may hold rows of the baseline. columns: all that aren't generated. meddled: has triggers or rules that fire
    in the role `replica` too. enabled: its own triggers and rules that fire, as `ENABLE=ALWAYS TRIGGER x`. needs: oids
    of the tables whose rows must be there before its own. value: of a sequence, last_value and is_called.
    """

    oid: int
    kind: str
    name: str
    seeded: bool
    unlogged: bool
    columns: list[str]
    meddled: bool
    enabled: list[str]
    needs: list[int]
    value: tuple[int, bool] = field(default=(0, False))

    def copy(self, baseline: str) -> str:
        return f"{baseline}.table_{self.oid}"

    @property
    def listed(self) -> str:
        return ", ".join(self.columns)

    @property
    def rows(self) -> str:
        """SQL for its rows, each as one text: any type has one, not every type can be compared."""
        return f"ROW({self.listed})::text"


def settings(strategy: Strategy, scope: str = "SESSION") -> str:
    """Statements that make a session, or with scope LOCAL a transaction, fit for a reset."""
    wanted = SETTINGS | (PRIVILEGED if strategy == "delete" else {})
    return "; ".join(f"SET {scope} {name} = '{value}'" for name, value in wanted.items())


def values(relations: Iterable[Relation]) -> str:
    """A SELECT of the sequences' oids and values, and of whether there are large objects."""
    none = f"SELECT {LARGE}::bigint, 0::bigint, EXISTS (SELECT FROM pg_largeobject_metadata)"
    read = [f"SELECT {one.oid}, last_value, is_called FROM {one.name}" for one in relations if one.kind == "S"]
    return " UNION ALL ".join([none, *read])


def lock(relations: Iterable[Relation]) -> str:
    """EXCLUSIVE also waits for row locks (FOR UPDATE), which would block a DELETE half-way. One order, by oid."""
    tables = [f"ONLY {one.name}" for one in relations if one.kind == "r"]
    return f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE" if tables else ""


def script(
    relations: Sequence[Relation], baseline: str, strategy: Strategy, large_objects: bool, lock_timeout: float
) -> Iterator[str]:
    """The statements that make a baseline's schema, replacing an older one."""
    yield f"DROP SCHEMA IF EXISTS {baseline} CASCADE"
    yield f"CREATE SCHEMA {baseline}"
    for one in relations:
        if one.kind != "S" and one.seeded:  # logged, unlike a scratch table: a crash must not empty the baseline
            yield f"CREATE TABLE {one.copy(baseline)} AS SELECT {one.listed} FROM ONLY {one.name}"
    yield f"""CREATE TABLE {baseline}.objects (oid oid, kind "char", name text, listed text, copy text, place int, empty text,
        refill text, before text, after text, rows bigint, xids xid[], last_value bigint, is_called boolean)"""
    yield from _objects(relations, baseline, strategy)
    # A sequence's first nextval after setval is written to the log, so it takes a transaction id, as every write does.
    yield f"SELECT setval(oid::regclass, last_value, is_called) FROM {baseline}.objects WHERE kind = 'S'"
    yield f"CREATE SEQUENCE {baseline}.ddl"
    if strategy == "delete":
        yield from _event_triggers(baseline)
    yield f"CREATE TABLE {baseline}.catalogue AS {catalogue.query('pg_current_xact_id()::xid')}"
    superuser = strategy == "delete"
    yield f"""CREATE TABLE {baseline}.state AS SELECT '{strategy}'::text AS strategy,
        pg_current_xact_id()::xid AS since, 1::bigint AS ddl, {EVENT_TRIGGERS.format(baseline=baseline)} AS events,
        {roles.SIGNATURE if superuser else "0::bigint"} AS roles"""
    yield f"CREATE TABLE {baseline}.large_objects AS {LARGE_OBJECTS}"
    if superuser:
        yield f"CREATE TABLE {baseline}.roles AS {roles.QUERY}"
    yield _function(relations, baseline, strategy, large_objects, lock_timeout)


def _objects(relations: Sequence[Relation], baseline: str, strategy: Strategy) -> Iterator[str]:
    places = {oid: place for place, oid in enumerate(order(relations) if strategy == "truncate" else [])}
    rows = []
    for one in relations:
        counted = one.seeded and one.kind != "S"
        copy = one.copy(baseline) if counted else ""
        texts = [
            one.name,
            one.listed,
            copy,
            _empty(one, baseline, strategy),
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


def _empty(one: Relation, baseline: str, strategy: Strategy) -> str:
    if one.kind == "m":
        return f"SELECT {differs(one, baseline)}"
    if one.kind == "S":
        return ""
    if strategy == "delete":
        return f"DELETE FROM ONLY {one.name}"
    return f"TRUNCATE ONLY {one.name} RESTART IDENTITY CASCADE"


def _refill(one: Relation, baseline: str) -> str:
    if one.kind == "m":
        return f"REFRESH MATERIALIZED VIEW {one.name}"
    if one.kind == "S" or not one.seeded:
        return ""
    into = f"{one.name} ({one.listed})" if one.columns else one.name
    return f"INSERT INTO {into} OVERRIDING SYSTEM VALUE SELECT {one.listed} FROM {one.copy(baseline)}"


def _switches(one: Relation, strategy: Strategy) -> tuple[str, str]:
    """Statements that switch its triggers and rules off and on, for an owner who can't take the role `replica`."""
    if strategy == "delete":
        return "", ""
    off = [f"ALTER TABLE {one.name} DISABLE {what.split(' ', 1)[1]}" for what in one.enabled]
    on = [f"ALTER TABLE {one.name} {what.replace('=', ' ', 1)}" for what in one.enabled]
    return "; ".join(off), "; ".join(on)


def order(relations: Iterable[Relation]) -> list[int]:
    """Oids of the seeded tables, each after those that its foreign keys point to; a deferrable key points nowhere.

    Raises ItestError (data) for a cycle.
    """
    names = {one.oid: one.name for one in relations if one.kind == "r" and one.seeded}
    graph = {one.oid: [oid for oid in one.needs if oid in names] for one in relations if one.oid in names}
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        cycle = " -> ".join(names[oid] for oid in error.args[1])
        problem = f"isolation truncate: foreign keys form a circle, so no table can be filled first: {cycle}"
        hint = "make one of them DEFERRABLE, or use isolation: delete"
        raise ItestError("data", problem, hint=hint, cause="cycle") from error


def _event_triggers(baseline: str) -> Iterator[str]:
    """Count changes of the schema in a sequence, whose nextval no rollback undoes, whoever makes them.

    Temporary objects and those of ours don't count. https://www.postgresql.org/docs/current/functions-event-triggers.html
    """
    for event, objects, temporary in (
        ("ddl_command_end", "pg_event_trigger_ddl_commands()", "schema_name = 'pg_temp'"),
        ("sql_drop", "pg_event_trigger_dropped_objects()", "is_temporary"),
    ):
        yield f"""CREATE FUNCTION {baseline}.{event}() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog AS $$ BEGIN
                IF EXISTS (SELECT FROM {objects} WHERE NOT ({temporary} OR coalesce(schema_name, '') ~ '^itest_'
                           OR object_type = 'schema' AND object_identity ~ '^itest_')) THEN
                    PERFORM nextval('{baseline}.ddl');
                END IF;
            END $$"""
        yield f"CREATE EVENT TRIGGER {baseline}_{event} ON {event} EXECUTE FUNCTION {baseline}.{event}()"
        yield f"ALTER EVENT TRIGGER {baseline}_{event} ENABLE ALWAYS"
    yield f"SELECT setval('{baseline}.ddl', 1)"


def _function(
    relations: Sequence[Relation], baseline: str, strategy: Strategy, large_objects: bool, lock_timeout: float
) -> str:
    unlogged = [_sequence_moved(one) for one in relations if one.kind == "S" and one.unlogged]
    privileged = strategy == "delete"
    body = BODY.format(
        baseline=baseline,
        unlogged=" OR ".join(unlogged) or "false",
        open=OPEN,
        lock=f"{lock(relations)};" if lock(relations) else "",
        ddl=DDL.format(baseline=baseline, events=EVENT_TRIGGERS.format(baseline=baseline)) if privileged else "",
        roles=ROLES_MOVED.format(baseline=baseline, signature=roles.SIGNATURE, roles=ROLES) if privileged else "",
        find=find(relations, baseline, large_objects),
        rounds=ROUNDS,
        restore=(BY_DELETE if privileged else BY_TRUNCATE).format(baseline=baseline),
        large=LARGE,
        large_objects=LARGE_OBJECTS,
        kept_large=f"SELECT oid, digest FROM {baseline}.large_objects",
    )
    return f"""CREATE FUNCTION {baseline}.reset(expected bigint, how text,
        OUT verdict text, OUT mark bigint, OUT changed bigint[], OUT dead bigint) LANGUAGE plpgsql
        SET lock_timeout = '{lock_timeout * 1000:.0f}ms' AS {literal(body)}"""


def find(relations: Iterable[Relation], baseline: str, large_objects: bool) -> str:
    """SQL for an array of the oids of all that is not as the baseline has it."""
    found = [_found(one, baseline) for one in relations]
    if large_objects:
        kept = f"SELECT oid, digest FROM {baseline}.large_objects"
        moved = f"EXISTS ({kept} EXCEPT {LARGE_OBJECTS}) OR EXISTS ({LARGE_OBJECTS} EXCEPT {kept})"
    else:
        moved = "EXISTS (SELECT FROM pg_largeobject_metadata)"
    found.append(f"CASE WHEN {moved} THEN {LARGE} END")
    return f"array_remove(ARRAY[{', '.join(found)}]::bigint[], NULL)"


def _found(one: Relation, baseline: str) -> str:
    """The relation's oid where it changed, else NULL.

    Rows of a seeded table are the baseline's if as many are there as it has, and all were written by the transactions
    that wrote those: they are over, so they can write no more, and a row that is updated gets another xmin.
    """
    if one.kind == "S":
        return f"CASE WHEN {_sequence_moved(one)} THEN {one.oid} END"
    if not one.seeded:
        return f"CASE WHEN EXISTS (SELECT FROM ONLY {one.name}) THEN {one.oid} END"
    same = "count(*) = o.rows AND coalesce(bool_and(x.xmin = ANY (o.xids)), true)"
    changed = f"NOT (SELECT {same} FROM ONLY {one.name} x)"
    if one.meddled:
        changed = f"({changed} OR {differs(one, baseline)})"
    return f"(SELECT o.oid FROM {baseline}.objects o WHERE o.oid = {one.oid} AND {changed})"


def differs(one: Relation, baseline: str) -> str:
    """SQL for whether its rows are other than the copy's; their number is compared elsewhere."""
    return f"EXISTS (SELECT {one.rows} FROM ONLY {one.name} EXCEPT ALL SELECT {one.rows} FROM {one.copy(baseline)})"


def _sequence_moved(one: Relation) -> str:
    value, called = one.value
    moved = f"s.last_value <> {value} OR s.is_called <> {called} OR s.log_cnt <> 0"
    return f"EXISTS (SELECT FROM {one.name} s WHERE {moved})"


def literal(text: str) -> str:
    """The text as a literal of SQL. Standard strings: a backslash is a backslash, as the settings make sure."""
    return "'" + text.replace("'", "''") + "'"
