"""The function that brings a baseline back, written for the tables that there are, so that PostgreSQL plans it once.

To find what changed is one statement for a hundred tables; what is restored then is only what was found; and then the
search is made once more, which verifies it. All that in one round trip, inside one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from itest.data import roles
from itest.data.relations import Relation, literal, lock
from itest.data.sessions import OPEN

Strategy = Literal["delete", "truncate"]

AT_ONCE = 100  # relations that one statement looks at: the time for one grows with the square of them
ROUNDS = 4  # of finding and restoring: a trigger ENABLEd ALWAYS may write while its table is restored

# Things that are not relations are known by the oid of their catalogue.
ROLES, LARGE = 1260, 2995  # pg_authid, pg_largeobject_metadata


EVENT_TRIGGERS = """(SELECT coalesce(bit_xor(hash_record_extended(ROW(oid, xmin), 0)), 0) FROM pg_event_trigger
    WHERE evtname !~ '^itest_' OR starts_with(evtname, '{baseline}_'))"""
LARGE_OBJECTS = (
    "SELECT oid, md5(format('%s %s %s', lomowner, lomacl, md5(lo_get(oid)))) AS digest FROM pg_largeobject_metadata"
)

# The way back, one call a test. `expected`: the next transaction id if nobody was given one since the last call.
#
# Nothing changes but by a transaction with an id (an unlogged sequence is the exception), so if ours is the expected
# one, all is as it was. That goes on to be true only while no older id is in use: its owner could write later and not
# be noticed; then mark is 0, which no id ever is. `how`: look = only say whether all is as it was; patient = say so
# first if somebody's transaction is open; now = restore.
BODY = """
#variable_conflict use_column
DECLARE
    own CONSTANT xid8 := pg_current_xact_id();
    untouched boolean;
    dirty bigint[];
    part bigint[];
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
        dirty := ARRAY[]::bigint[];{find_rows}{find_sequences}
        IF cardinality(dirty) = 0 THEN
            verdict := 'reset';
            RETURN;
        END IF;
        IF round = 1 THEN -- what is found later is our own doing
            changed := changed || dirty;
        END IF;
        {restore}
        {views}
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
FIND = """
        SELECT array_remove(ARRAY[{found}]::bigint[], NULL) INTO part;
        dirty := dirty || part;"""
VIEWS = """
        FOR one IN SELECT * FROM {baseline}.objects o WHERE o.oid = ANY (dirty) AND o.kind = 'm' ORDER BY o.oid LOOP
            EXECUTE one.refill;
            EXECUTE one.empty INTO told;
            IF told THEN
                verdict := 'stale';
                changed := ARRAY[one.oid::bigint];
                RETURN;
            END IF;
            UPDATE {baseline}.objects SET xids = ARRAY[own::xid] WHERE oid = one.oid;
        END LOOP;"""
SEQUENCES_AGAIN = """
        IF round = 1 THEN{found}
        ELSE
            SELECT array_agg(o.oid::bigint) INTO part FROM {baseline}.objects o
                WHERE o.oid = ANY (changed) AND o.kind = 'S'
                  AND pg_sequence_last_value(o.oid) IS DISTINCT FROM CASE WHEN o.is_called THEN o.last_value END;
            dirty := dirty || part;
        END IF;"""
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
        IF {oid} = ANY (dirty) THEN
            DELETE FROM ONLY {name};
            GET DIAGNOSTICS number = ROW_COUNT;
            dead := dead + number;{refill}
        END IF;"""
REFILL = """
            {refill};
            UPDATE {baseline}.objects SET xids = ARRAY[own::xid] WHERE oid = {oid};"""
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


def function(relations: Sequence[Relation], baseline: str, strategy: Strategy, lock_timeout: float) -> str:
    """The statement that creates the function `reset` in the baseline's schema. lock_timeout: seconds."""
    unlogged = [_sequence_moved(one) for one in relations if one.kind == "S" and one.unlogged]
    privileged = strategy == "delete"
    body = BODY.format(
        baseline=baseline,
        unlogged=" OR ".join(unlogged) or "false",
        open=OPEN,
        lock=f"{lock(relations)};" if lock(relations) else "",
        ddl=DDL.format(baseline=baseline, events=EVENT_TRIGGERS.format(baseline=baseline)) if privileged else "",
        roles=ROLES_MOVED.format(baseline=baseline, signature=roles.SIGNATURE, roles=ROLES) if privileged else "",
        find_rows=_find_rows(relations, baseline),
        find_sequences=_find_sequences(relations, baseline, strategy),
        rounds=ROUNDS,
        views=VIEWS.format(baseline=baseline) if any(one.kind == "m" for one in relations) else "",
        restore=_by_delete(relations, baseline) if privileged else BY_TRUNCATE.format(baseline=baseline),
        large=LARGE,
        large_objects=LARGE_OBJECTS,
        kept_large=f"SELECT oid, digest FROM {baseline}.large_objects",
    )
    return f"""CREATE FUNCTION {baseline}.reset(expected bigint, how text,
        OUT verdict text, OUT mark bigint, OUT changed bigint[], OUT dead bigint) LANGUAGE plpgsql
        SET lock_timeout = '{lock_timeout * 1000:.0f}ms' AS {literal(body)}"""


def _by_delete(relations: Iterable[Relation], baseline: str) -> str:
    branches = []
    for one in relations:
        if one.kind == "r":
            again = REFILL.format(refill=one.refill(baseline), baseline=baseline, oid=one.oid) if one.seeded else ""
            branches.append(BY_DELETE.format(oid=one.oid, name=one.name, refill=again))
    return "".join(branches)


def _find_rows(relations: Iterable[Relation], baseline: str) -> str:
    """Statements that collect in `dirty` the oids of all that has other rows than in the baseline."""
    found = [_found(one, baseline) for one in relations if one.kind != "S"]
    kept = f"SELECT oid, digest FROM {baseline}.large_objects"
    some = f"(EXISTS ({kept}) OR EXISTS (SELECT FROM pg_largeobject_metadata))"
    large = f"{some} AND (EXISTS ({kept} EXCEPT {LARGE_OBJECTS}) OR EXISTS ({LARGE_OBJECTS} EXCEPT {kept}))"
    return _collect([*found, f"CASE WHEN {large} THEN {LARGE} END"])


def _find_sequences(relations: Sequence[Relation], baseline: str, strategy: Strategy) -> str:
    """The same for sequences. Once the baseline is restored only those that were set back need another look, unless
    restoring the rows may have used others."""
    found = _collect([_found(one, baseline) for one in relations if one.kind == "S"])
    if strategy == "truncate" or any(one.meddled for one in relations):
        return found
    return SEQUENCES_AGAIN.format(found=found, baseline=baseline)


def _collect(found: Sequence[str]) -> str:
    parts = [found[start : start + AT_ONCE] for start in range(0, len(found), AT_ONCE)]
    return "".join(FIND.format(found=", ".join(part)) for part in parts)


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
