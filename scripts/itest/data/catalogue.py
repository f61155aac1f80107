"""The schema of a database as its system catalogues hold it: kept as rows, compared later, told apart in words.

Kept is whatever a migration could have made: all that is not built in, and what is built in once it was touched. Left
out are statistics and storage (relpages, relfilenode …), which VACUUM, ANALYZE and TRUNCATE change, temporary objects
and the schemas of ours. An object that was dropped and made again counts as changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from psycopg import Connection

# What DDL sets; other columns are storage, statistics, or hints that are cleared lazily (relhasindex, indcheckxmin).
RELATION = """c.relname, c.relnamespace, c.reltype, c.reloftype, c.relowner, c.relam, c.reltablespace, c.relpersistence,
    c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relispopulated, c.relreplident,
    c.relispartition, c.reloptions, c.relacl, c.relpartbound"""
INDEX = """c.indrelid, c.indnatts, c.indnkeyatts, c.indisunique, c.indnullsnotdistinct, c.indisprimary,
    c.indisexclusion, c.indimmediate, c.indisclustered, c.indisvalid, c.indisready, c.indislive, c.indisreplident,
    c.indkey, c.indcollation, c.indclass, c.indoption, c.indexprs, c.indpred"""
KIND = """CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index'
    WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'c' THEN 'type'
    WHEN 'f' THEN 'foreign table' ELSE 'relation' END"""
BUILT_IN_BELOW = 16384  # FirstNormalObjectId of access/transam.h
THEIRS = "nspname !~ '^(itest_|pg_toast|pg_temp_)'"
OURS = r"\mitest_\w+\."  # in the label of what is in a schema of ours, or belongs to it

# Catalogues of what lives in a schema: column of the schema, column of the name, noun.
IN_SCHEMAS = {
    "pg_operator": ("oprnamespace", "oprname", "operator"),
    "pg_opclass": ("opcnamespace", "opcname", "operator class"),
    "pg_opfamily": ("opfnamespace", "opfname", "operator family"),
    "pg_collation": ("collnamespace", "collname", "collation"),
    "pg_conversion": ("connamespace", "conname", "conversion"),
    "pg_statistic_ext": ("stxnamespace", "stxname", "statistics object"),
    "pg_ts_config": ("cfgnamespace", "cfgname", "text search configuration"),
    "pg_ts_dict": ("dictnamespace", "dictname", "text search dictionary"),
    "pg_ts_parser": ("prsnamespace", "prsname", "text search parser"),
    "pg_ts_template": ("tmplnamespace", "tmplname", "text search template"),
}
# Catalogues of objects to which others belong; who came or went with its object says nothing more.
WHOLE = ("pg_class", "pg_type", "pg_proc", "pg_opfamily", "pg_ts_config", "pg_extension")
# DISABLE TRIGGER ALL touches each trigger of a table, those of its keys too: one line tells of them all.
SWITCH = "triggers switched on or off"
# Of what belongs to a relation: column of the relation, key, label after the relation's own.
OF_RELATIONS = {
    "pg_attrdef": ("adrelid", "oid", "'default of column ' || c.adnum"),
    "pg_policy": ("polrelid", "oid", "'policy ' || c.polname"),
    "pg_rewrite": ("ev_class", "oid", "CASE c.rulename WHEN '_RETURN' THEN 'query' ELSE 'rule ' || c.rulename END"),
    "pg_inherits": ("inhrelid", "inhrelid", "'parent'"),
    "pg_sequence": ("seqrelid", "seqrelid", "'parameters'"),
    "pg_partitioned_table": ("partrelid", "partrelid", "'partition key'"),
    "pg_foreign_table": ("ftrelid", "ftrelid", "'foreign server'"),
    "pg_publication_rel": ("prrelid", "oid", "'publication'"),
}
# Of the parts of such an object: column of the object, key, label.
PARTS = {
    "pg_enum": ("enumtypid", "oid", "'type ' || c.enumtypid::regtype || ': value ' || c.enumlabel"),
    "pg_range": ("rngtypid", "rngtypid", "'range type ' || c.rngtypid::regtype"),
    "pg_aggregate": ("aggfnoid", "aggfnoid", "'aggregate ' || c.aggfnoid"),
    "pg_amop": ("amopfamily", "oid", "pg_describe_object('pg_amop'::regclass, c.oid, 0)"),
    "pg_amproc": ("amprocfamily", "oid", "pg_describe_object('pg_amproc'::regclass, c.oid, 0)"),
    "pg_ts_config_map": ("mapcfg", "mapcfg", "'mapping of text search configuration ' || c.mapcfg::regconfig"),
}
# Of the rest: key, label.
APART = {
    "pg_cast": ("oid", "'cast of ' || c.castsource::regtype || ' to ' || c.casttarget::regtype"),
    "pg_am": ("oid", "'access method ' || c.amname"),
    "pg_language": ("oid", "'language ' || c.lanname"),
    "pg_transform": ("oid", "'transform for ' || c.trftype::regtype"),
    "pg_extension": ("oid", "'extension ' || c.extname"),
    "pg_default_acl": ("oid", "'default privileges of ' || c.defaclrole::regrole"),
    "pg_publication": ("oid", "'publication ' || c.pubname"),
    "pg_publication_namespace": ("oid", "'schema ' || c.pnnspid::regnamespace || ': publication'"),
    "pg_foreign_data_wrapper": ("oid", "'foreign data wrapper ' || c.fdwname"),
    "pg_foreign_server": ("oid", "'foreign server ' || c.srvname"),
}
LABELLED = "search_path = pg_catalog"  # names are told with their schema, whoever asks
COLUMNS = "catalogue, object, part, of, label, row"


class Entry(NamedTuple):
    """A row of a system catalogue. part: column number; of: oid of what it belongs to (a relation, a type, an
    extension …), or 0."""

    catalogue: str
    object: int
    part: int
    of: int
    label: str
    kept: bool


def query(since: str) -> str:
    """A SELECT of the whole catalogue, to be run with the setting LABELLED.

    since: SQL for the transaction id from which on something built in counts.
    """
    selects = [*_relations(), *_in_schemas(), *_of_relations(), *_triggers(), *_apart(), *_about_others()]
    return f"""
        WITH e AS MATERIALIZED ({" UNION ALL ".join(selects).replace("{since}", since)})
        SELECT e.catalogue, e.object, e.part, CASE e.of WHEN 0 THEN coalesce(d.refobjid, 0) ELSE e.of END AS of,
               e.label, e.row
        FROM e
        LEFT JOIN pg_depend d ON d.deptype = 'e' AND d.classid = e.catalogue::regclass AND d.objid = e.object
        WHERE e.label !~ '{OURS}'"""


def changes(conn: Connection, baseline: str, since: int) -> list[str]:
    """What differs from the catalogue kept in the baseline's table `catalogue`, a line each, such as
    `table public.people: column age added`. since: the transaction id from which on something built in counts."""
    asked = f"""
        WITH now AS MATERIALIZED ({query(f"'{since}'::pg_catalog.xid")}),
             gone AS (SELECT {COLUMNS} FROM {baseline}.catalogue EXCEPT ALL SELECT {COLUMNS} FROM now),
             new AS (SELECT {COLUMNS} FROM now EXCEPT ALL SELECT {COLUMNS} FROM {baseline}.catalogue)
        SELECT catalogue, object::bigint, part, of::bigint, label, true FROM gone
        UNION ALL SELECT catalogue, object::bigint, part, of::bigint, label, false FROM new
        ORDER BY 1, 2, 3
    """
    with conn.transaction():
        conn.execute(f"SET LOCAL {LABELLED}".encode())
        return list(_words([Entry(*row) for row in conn.execute(asked.encode()).fetchall()]))


def _words(entries: Iterable[Entry]) -> Iterator[str]:
    """A line for each object; what belongs to one that came, went or was renamed says nothing more."""
    before, after = ({entry[:3]: entry for entry in entries if entry.kept is kept} for kept in (True, False))
    told: dict[str, None] = {}
    whole = set()
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if key[0] in WHOLE and (old is None or new is None or old.label != new.label):
            whole.add(key[1])
    for key in sorted(dict.fromkeys([*before, *after]), key=lambda key: key[0] != "pg_class"):
        old, new = before.get(key), after.get(key)
        entry = new or old
        assert entry is not None
        if entry.of in whole:
            continue
        if entry.label.endswith(SWITCH):
            told.update({entry.label: None} if old and new else {})
        elif key[1] < BUILT_IN_BELOW:
            told[f"{entry.label} changed"] = None
        elif old is None or new is None:
            told[f"{entry.label} {'added' if old is None else 'dropped'}"] = None
        elif old.label != new.label:
            told[f"{old.label} renamed to {new.label.rpartition(' ')[2]}"] = None
        else:
            told[f"{entry.label} changed"] = None
    return iter(told)


def _relations() -> Iterator[str]:
    named = f"{KIND} || ' ' || n.nspname || '.' || c.relname"
    join = f"JOIN pg_namespace n ON n.oid = c.relnamespace AND n.{THEIRS}"
    yield f"""
        SELECT 'pg_class' AS catalogue, c.oid AS object, 0 AS part, coalesce(i.indrelid, 0) AS of, {named} AS label,
               ROW({RELATION})::text AS row
        FROM pg_class c {join} LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE {_counts("c")}"""
    yield f"""
        SELECT 'pg_attribute', a.attrelid, a.attnum::int, c.oid, {named} || ': column ' || a.attname, a::text
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid {join}
        WHERE c.relkind NOT IN ('i', 'I') AND a.attnum > 0 AND NOT a.attisdropped AND {_counts("a", "attrelid")}"""
    yield f"""
        SELECT 'pg_index', c.indexrelid, 0, c.indrelid, 'index ' || n.nspname || '.' || r.relname, ROW({INDEX})::text
        FROM pg_index c JOIN pg_class r ON r.oid = c.indexrelid
        JOIN pg_namespace n ON n.oid = r.relnamespace AND n.{THEIRS} WHERE {_counts("c", "indexrelid")}"""


def _in_schemas() -> Iterator[str]:
    for name, (schema, column, noun) in IN_SCHEMAS.items():
        yield _in_schema(name, schema, "0", f"'{noun} ' || n.nspname || '.' || c.{column}")
    arguments = "'(' || pg_get_function_identity_arguments(c.oid) || ')'"
    kind = "CASE c.prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END"
    yield _in_schema("pg_proc", "pronamespace", "0", f"{kind} || n.nspname || '.' || c.proname || {arguments}")
    row_type = "c.typcategory <> 'A'"  # every type has its array, every relation its row type
    yield _in_schema("pg_type", "typnamespace", "c.typrelid", "'type ' || n.nspname || '.' || c.typname", row_type)
    table = "'table ' || n.nspname || '.' || (SELECT r.relname FROM pg_class r WHERE r.oid = c.conrelid)"
    owner = f"coalesce({table}, 'type ' || c.contypid::regtype)"
    yield _in_schema("pg_constraint", "connamespace", "c.conrelid", f"{owner} || ': constraint ' || c.conname")


def _in_schema(name: str, schema: str, of: str, label: str, only: str = "true") -> str:
    join = f"JOIN pg_namespace n ON n.oid = c.{schema} AND n.{THEIRS}"
    return f"SELECT '{name}', c.oid, 0, {of}, {label}, c::text FROM {name} c {join} WHERE {only} AND {_counts('c')}"


def _of_relations() -> Iterator[str]:
    for name, (relation, key, label) in OF_RELATIONS.items():
        yield _of_relation(name, relation, key, label)


def _triggers() -> Iterator[str]:
    """Whether a trigger is on is an entry of its own."""
    label = "CASE WHEN c.tgisinternal THEN 'trigger of a key' ELSE 'trigger ' || c.tgname END"
    yield _of_relation("pg_trigger", "tgrelid", "oid", label, "(to_jsonb(c) - 'tgenabled')::text")
    yield _of_relation("pg_trigger", "tgrelid", "oid", f"'{SWITCH}'", "c.tgenabled::text", part=1)


def _of_relation(name: str, relation: str, key: str, label: str, row: str = "c::text", part: int = 0) -> str:
    join = f"JOIN pg_class r ON r.oid = c.{relation} JOIN pg_namespace n ON n.oid = r.relnamespace AND n.{THEIRS}"
    named = f"{KIND.replace('c.', 'r.')} || ' ' || n.nspname || '.' || r.relname || ': ' || {label}"
    return f"SELECT '{name}', c.{key}, {part}, r.oid, {named}, {row} FROM {name} c {join} WHERE {_counts('c', key)}"


def _apart() -> Iterator[str]:
    for name, (whole, key, label) in PARTS.items():
        yield f"SELECT '{name}', c.{key}, 0, c.{whole}, {label}, c::text FROM {name} c WHERE {_counts('c', key)}"
    for name, (key, label) in APART.items():
        yield f"SELECT '{name}', c.{key}, 0, 0, {label}, c::text FROM {name} c WHERE {_counts('c', key)}"
    mapping = "'user mapping of ' || coalesce(c.usename, 'public') || ' to ' || c.srvname"
    yield f"SELECT 'pg_user_mapping', c.umid, 0, 0, {mapping}, c::text FROM pg_user_mappings c"  # the table is secret
    yield f"""SELECT 'pg_namespace', c.oid, 0, 0, 'schema ' || c.nspname, c::text FROM pg_namespace c
        WHERE c.{THEIRS} AND {_counts("c")}"""
    yield f"""SELECT 'pg_event_trigger', c.oid, 0, 0, 'event trigger ' || c.evtname, c::text FROM pg_event_trigger c
        WHERE c.evtname !~ '^itest_' AND {_counts("c")}"""


def _about_others() -> Iterator[str]:
    """Comments and security labels, which are rows of a catalogue of their own. Ours is the one on our schema."""
    for name, noun in (("pg_description", "comment"), ("pg_seclabel", "security label")):
        of = "pg_describe_object(c.classoid, c.objoid, c.objsubid)"
        ours = "SELECT oid FROM pg_namespace WHERE nspname ~ '^itest_'"
        yield f"""SELECT '{name}', c.objoid, c.objsubid, c.objoid, '{noun} on ' || {of}, c::text FROM {name} c
            WHERE {_counts("c", "objoid")} AND NOT (c.classoid = 'pg_namespace'::regclass AND c.objoid IN ({ours}))"""


def _counts(row: str, key: str = "oid") -> str:
    """Not built in, or touched since."""
    return f"({row}.{key}::oid >= {BUILT_IN_BELOW} OR age({row}.xmin) <= age({{since}}))"
