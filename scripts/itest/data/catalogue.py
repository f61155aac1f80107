"""The schema of a database as its system catalogues hold it: kept as rows, compared later, told apart in words.

Kept is what a migration could have made: everything of this database that is not built in, and what is built in as soon
as it was touched. Left out are statistics and storage (pg_class.relpages, relfilenode …), which VACUUM, ANALYZE and
TRUNCATE change; temporary objects; the schemas of ours. An object that was dropped and made again counts as changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import class_row

# Columns of pg_class and pg_index that a statement of DDL sets; the others are storage, statistics, or hints that are
# cleared lazily (relhasindex, indcheckxmin).
RELATION = """relname, relnamespace, reltype, reloftype, relowner, relam, reltablespace, relpersistence, relkind, relnatts,
    relchecks, relrowsecurity, relforcerowsecurity, relispopulated, relreplident, relispartition, reloptions, relacl,
    relpartbound"""
INDEX = """indrelid, indnatts, indnkeyatts, indisunique, indnullsnotdistinct, indisprimary, indisexclusion, indimmediate,
    indisclustered, indisvalid, indisready, indislive, indisreplident, indkey, indcollation, indclass, indoption,
    indexprs, indpred"""

# Objects that live in a schema, with its column and their name's. Each of these catalogues begins with an oid.
IN_SCHEMAS = {
    "pg_type": ("typnamespace", "typname"),
    "pg_proc": ("pronamespace", "proname"),
    "pg_operator": ("oprnamespace", "oprname"),
    "pg_opclass": ("opcnamespace", "opcname"),
    "pg_opfamily": ("opfnamespace", "opfname"),
    "pg_collation": ("collnamespace", "collname"),
    "pg_conversion": ("connamespace", "conname"),
    "pg_constraint": ("connamespace", "conname"),
    "pg_statistic_ext": ("stxnamespace", "stxname"),
    "pg_ts_config": ("cfgnamespace", "cfgname"),
    "pg_ts_dict": ("dictnamespace", "dictname"),
    "pg_ts_parser": ("prsnamespace", "prsname"),
    "pg_ts_template": ("tmplnamespace", "tmplname"),
}
# What belongs to a relation, with the columns of its relation, its own key within the catalogue, and its name.
OF_RELATIONS = {
    "pg_attrdef": ("adrelid", "oid", "NULL"),
    "pg_trigger": ("tgrelid", "oid", "tgname"),
    "pg_policy": ("polrelid", "oid", "polname"),
    "pg_rewrite": ("ev_class", "oid", "rulename"),
    "pg_inherits": ("inhrelid", "inhrelid", "NULL"),
    "pg_sequence": ("seqrelid", "seqrelid", "NULL"),
    "pg_partitioned_table": ("partrelid", "partrelid", "NULL"),
    "pg_foreign_table": ("ftrelid", "ftrelid", "NULL"),
    "pg_publication_rel": ("prrelid", "oid", "NULL"),
}
# The rest, with the key and the name.
APART = {
    "pg_enum": ("oid", "enumlabel"),
    "pg_range": ("rngtypid", "NULL"),
    "pg_aggregate": ("aggfnoid", "NULL"),
    "pg_cast": ("oid", "NULL"),
    "pg_amop": ("oid", "NULL"),
    "pg_amproc": ("oid", "NULL"),
    "pg_am": ("oid", "amname"),
    "pg_language": ("oid", "lanname"),
    "pg_transform": ("oid", "NULL"),
    "pg_extension": ("oid", "extname"),
    "pg_default_acl": ("oid", "NULL"),
    "pg_publication": ("oid", "pubname"),
    "pg_publication_namespace": ("oid", "NULL"),
    "pg_foreign_data_wrapper": ("oid", "fdwname"),
    "pg_foreign_server": ("oid", "srvname"),
    "pg_user_mapping": ("oid", "NULL"),
    "pg_ts_config_map": ("mapcfg", "NULL"),
}
OURS = "nspname !~ '^(itest_|pg_toast|pg_temp_)'"  # despite its name, what is not ours, and not temporary


class Change(NamedTuple):
    """A row of a system catalogue that is in the baseline (before) or in the database as it is now (after), not in both.

    catalogue: such as pg_proc. kind: PostgreSQL's word for the object, such as `function`; of: the oid of its relation,
    or 0; place: its schema or its relation.
    """

    catalogue: str
    object: int
    part: int
    of: int
    place: str
    name: str
    kind: str
    before: bool
    after: bool


def query(since: str) -> str:
    """A SELECT of the whole catalogue. since: SQL for the transaction id from which on a built-in object counts."""
    return " UNION ALL ".join(_selects(since))


def changes(conn: Connection, baseline: str, since: int) -> list[str]:
    """What differs from the catalogue kept in the table `catalogue` of the baseline's schema, a line each."""
    now = query(f"'{since}'::pg_catalog.xid")
    columns = "catalogue, object, part, of, place, name, row"
    asked = f"""
        WITH now AS MATERIALIZED ({now}),
             gone AS (SELECT {columns} FROM {baseline}.catalogue EXCEPT ALL SELECT {columns} FROM now),
             new AS (SELECT {columns} FROM now EXCEPT ALL SELECT {columns} FROM {baseline}.catalogue),
             both_ AS (SELECT *, true AS before FROM gone UNION ALL SELECT *, false FROM new)
        SELECT catalogue, object::bigint AS object, part, of::bigint AS of, max(place) AS place,
               coalesce(max(name) FILTER (WHERE before), max(name), '') AS name,
               coalesce(max(CASE WHEN NOT before THEN (SELECT i.type || coalesce(' ' || i.identity, '') FROM
                        pg_catalog.pg_identify_object(format('pg_catalog.%I', catalogue)::regclass, object, 0) i) END),
                        '') AS kind,
               bool_or(before) AS before, bool_or(NOT before AND name NOT LIKE '.....%%pg.dropped.%%') AS after
        FROM both_ GROUP BY catalogue, object, part, of ORDER BY catalogue, object, part
    """
    with conn.cursor(row_factory=class_row(Change)) as cursor:
        return list(_words(cursor.execute(asked.encode()).fetchall()))
