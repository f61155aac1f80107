"""What there is to reset in a database: its tables, sequences and materialized views, as SQL names them."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from psycopg import Connection

from itest.errors import ItestError

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

    def refill(self, baseline: str) -> str:
        """The statement that fills the table from its copy."""
        into = f"{self.name} ({self.listed})" if self.columns else self.name
        return f"INSERT INTO {into} OVERRIDING SYSTEM VALUE SELECT {self.listed} FROM {self.copy(baseline)}"

    @property
    def listed(self) -> str:
        return ", ".join(self.columns)

    @property
    def rows(self) -> str:
        """SQL for its rows, each as one text: any type has one, not every type can be compared."""
        return f"ROW({self.listed})::text"


def read(conn: Connection) -> list[Relation]:
    """All of them, by oid; the tables stay locked against writers until the transaction ends."""
    found = [Relation(*row) for row in conn.execute(RELATIONS.encode()).fetchall()]
    locking = lock(found)
    if locking:
        conn.execute(locking.encode())
    sequences = [one for one in found if one.kind == "S"]
    reading = " UNION ALL ".join(f"SELECT {one.oid}, last_value, is_called FROM {one.name}" for one in sequences)
    values = {oid: (value, called) for oid, value, called in conn.execute(reading.encode())} if sequences else {}
    return [replace(one, value=values[one.oid]) if one.kind == "S" else one for one in found]


def lock(relations: Iterable[Relation]) -> str:
    """EXCLUSIVE also waits for row locks (FOR UPDATE), which would block a DELETE half-way. One order, by oid."""
    tables = [f"ONLY {one.name}" for one in relations if one.kind == "r"]
    return f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE" if tables else ""


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


def literal(text: str) -> str:
    """The text as a literal of SQL. Standard strings: a backslash is a backslash, as the settings make sure."""
    return "'" + text.replace("'", "''") + "'"
