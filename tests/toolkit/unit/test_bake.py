"""What a bake is made of, whose password is whose, and which bakes have had their time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from itest import data
from itest.bake import clocks, inputs, refusals, shelf
from itest.bake.inputs import Recipe, Unbakable
from itest.bake.roles import Role, variables_of, verifies
from itest.bake.shelf import Shelved
from itest.data.datafile import DataFile
from itest.suite import suite as suites

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)

# The example of RFC 7677, section 3 (password "pencil"), in the notation of RFC 5803.
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


# Whose password


def test_a_password_is_known_by_its_scram_verifier():
    assert verifies(Role("user", PENCIL), "pencil")
    assert not verifies(Role("user", PENCIL), "Pencil")
    assert not verifies(Role("user", PENCIL), "")


def test_a_password_is_known_by_its_md5_verifier_which_holds_the_role_s_name():
    role = Role("app", "md5e1df0c5788ff1d88bd4f1873e853f981")  # SELECT 'md5' || md5('itestapp')

    assert verifies(role, "itest")
    assert not verifies(replace(role, name="other"), "itest")


def test_a_role_gets_its_password_from_the_variable_that_had_it():
    values = {"POSTGRES_DB": "app", "APP_DB_PASSWORD": "pencil", "POSTGRES_PASSWORD": "other"}

    assert variables_of([Role("user", PENCIL)], values) == {"user": "APP_DB_PASSWORD"}


def test_a_role_whose_password_no_variable_has_is_not_guessed():
    with pytest.raises(Unbakable, match="password of role user is in no variable; read it from one"):
        variables_of([Role("user", PENCIL)], {"APP_DB_PASSWORD": "pen"})


def test_a_role_whose_password_two_variables_have_is_not_guessed():
    with pytest.raises(Unbakable, match="role user may come from A or B"):
        variables_of([Role("user", PENCIL)], {"A": "pencil", "B": "pencil"})


# What it is made of

LAYER = "compose/layers/store.yaml"
BAKABLE = ("image: postgres:17.11", "image: ${STORE_IMAGE:-postgres:17.11}")


@pytest.fixture
def recipe(repo, compose_client) -> Callable[..., Recipe]:
    """The recipe of the small repository as it is at that moment."""
    repo.edit(LAYER, *BAKABLE)
    repo.write("migrations/app/V1__create.sql", "CREATE TABLE thing (id int);\n")
    repo.write("fixtures/base/10_rows.json", '{"thing": [{"id": 1}]}')

    def of(base_id: str = "sha256:1") -> Recipe:
        suite = repo.load()
        suites.check(suite)
        return inputs.recipe(suite, data.plan(suite), "store", base_id)

    return of


def change_layer(repo, old: str, new: str) -> None:
    text = repo.text(LAYER).replace(*BAKABLE)
    assert text.count(old) == 1
    repo.write(LAYER, text.replace(old, new))


@pytest.mark.parametrize(
    ("what", "change"),
    {
        "a migration": lambda repo: repo.write("migrations/app/V1__create.sql", "CREATE TABLE other (id int);\n"),
        "a new migration": lambda repo: repo.write("migrations/app/V2__more.sql", "CREATE TABLE more (id int);\n"),
        "a fixture": lambda repo: repo.write("fixtures/base/10_rows.json", '{"thing": [{"id": 2}]}'),
        "an init script": lambda repo: repo.write("compose/init/10-roles.sql", "SELECT 2;\n"),
        "a new init script": lambda repo: repo.write("compose/init/20-more.sql", "SELECT 2;\n"),
        "a variable": lambda repo: change_layer(repo, "environment:\n", "environment:\n      POSTGRES_DB: other\n"),
        "a command": lambda repo: change_layer(repo, "    ports:", "    command: [postgres, -cjit=off]\n    ports:"),
        "a secret that is empty": lambda repo: change_layer(repo, "${STORE_PASSWORD:-itest}", '""'),
        "the isolation": lambda repo: repo.edit("compose/suites/api.yaml", "isolation: delete", "isolation: none"),
    }.items(),
)
def test_whatever_shapes_the_data_makes_another_bake(repo, recipe, what, change):
    before = recipe()

    change(repo)

    assert recipe().hash != before.hash, what


def test_another_server_makes_another_bake(recipe):
    assert recipe("sha256:2").hash != recipe("sha256:1").hash


@pytest.mark.parametrize(
    ("what", "change"),
    {
        "a password": lambda repo: change_layer(repo, "STORE_PASSWORD:-itest", "STORE_PASSWORD:-other"),
        "a limit": lambda repo: change_layer(repo, "    ports:", "    mem_limit: 512m\n    ports:"),
        "a port": lambda repo: change_layer(repo, "127.0.0.1::5432", "127.0.0.1:15432:5432"),
        "another service": lambda repo: repo.edit("compose/layers/app.yaml", "team/app:1.4", "team/app:1.5"),
    }.items(),
)
def test_what_leaves_the_data_alone_makes_no_other_bake(repo, recipe, what, change):
    before = recipe()

    change(repo)

    assert recipe().hash == before.hash, what


def test_a_password_that_a_run_made_up_is_in_no_hash_even_within_a_url(repo, recipe, monkeypatch):
    change_layer(repo, "environment:\n", "environment:\n      URL: postgres://${STORE_PASSWORD:-itest}@x\n")
    monkeypatch.setenv("STORE_PASSWORD", "2f1c9a7be0d34856")
    before = recipe()

    monkeypatch.setenv("STORE_PASSWORD", "a77e01b2c3d4e5f6")

    assert recipe().hash == before.hash


# What reads the clock


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO thing VALUES (1);\nINSERT INTO thing VALUES (Now ( ) - interval '1 day');",
        "INSERT INTO thing\nSELECT CURRENT_DATE;",
        "INSERT INTO thing\nSELECT pg_catalog.clock_timestamp();",
        "INSERT INTO thing\nSELECT timestamp with time zone 'Yesterday' - interval '1 h';",
        "INSERT INTO thing\nSELECT 'today'::date - 30;",
        "DO $$\nBEGIN INSERT INTO thing VALUES (now()); END $$;",
    ],
)
def test_a_fixture_that_reads_the_clock_is_not_baked(repo, recipe, text):
    repo.write("fixtures/base/20.sql", text)

    with pytest.raises(Unbakable, match=r"fixtures/base/20.sql:2 reads the clock \("):
        recipe()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("20.sql", "-- as of now(), not current_date\nINSERT INTO thing VALUES (1); /* now() /* now() */ now() */"),
        ("20.sql", "INSERT INTO thing VALUES ('Now'), ('today'), ('call now()'), ($$now()$$), ('tomorrow'::text);"),
        ("20.sql", 'INSERT INTO thing ("current_date", now) SELECT "now", now FROM other;'),
        ("20.json", '{"thing": [{"id": "Today", "note": "now()"}]}'),
    ],
)
def test_words_and_comments_are_no_clock(repo, recipe, file, text):
    repo.write(f"fixtures/base/{file}", text)

    assert recipe().hash


@pytest.fixture
def migration() -> Callable[[str], DataFile]:
    def of(text: str) -> DataFile:
        return DataFile("migration", Path("migrations/V1__x.sql"), text)

    return of


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE thing (made timestamptz DEFAULT now());",
        "ALTER TABLE thing ADD made date DEFAULT current_date;",
        "CREATE VIEW fresh AS SELECT * FROM thing WHERE made > now();",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO thing SELECT now(); END $$;",
        "INSERT INTO thing VALUES ('now()');",
        "UPDATE other SET made = now(); INSERT INTO thing VALUES (1);",
    ],
)
def test_a_migration_may_read_the_clock_where_no_row_depends_on_it(migration, text):
    assert clocks.in_migration(migration(text), ["thing"]) == ""


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1;\nINSERT INTO public.Thing VALUES (now() - interval '1 day');",
        "SELECT 1;\nWITH x AS (SELECT now() AS t) INSERT INTO thing SELECT t FROM x;",
        "SELECT 1;\nCREATE TABLE thing AS SELECT current_date - 30 AS made;",
        'SELECT 1;\nDO $x$ BEGIN UPDATE "thing" SET made = localtimestamp; END $x$;',
    ],
)
def test_a_migration_that_writes_rows_by_the_clock_is_found(migration, text):
    assert clocks.in_migration(migration(text), ["other", "thing"]).startswith("migrations/V1__x.sql:2 reads the clock")


# What was found out before


def test_a_refusal_is_known_for_a_day_and_until_an_input_changes(tmp_path):
    recipe = wanted("1:a")
    assert refusals.known(tmp_path, recipe) == ""

    refusals.remember(tmp_path, recipe, "it would age")

    assert refusals.known(tmp_path, recipe) == "it would age"
    assert refusals.known(tmp_path, replace(recipe, hash="other")) == ""


def test_a_refusal_of_yesterday_is_forgotten_and_swept_by_the_next(tmp_path):
    old, new = wanted("1:a"), replace(wanted("1:a"), hash="new")
    refusals.remember(tmp_path, old, "it would age")
    [file] = (tmp_path / "build").rglob("*.txt")
    os.utime(file, (0, 0))

    assert refusals.known(tmp_path, old) == ""
    refusals.remember(tmp_path, new, "too")
    assert not file.exists()


# What else is in the way


def test_an_image_that_no_variable_chooses_can_t_be_baked(repo, recipe):
    change_layer(repo, BAKABLE[1], BAKABLE[0])

    with pytest.raises(Unbakable, match=r"write `image: \$\{STORE_IMAGE:-postgres:17.11\}`"):
        recipe()


def test_a_variable_that_chooses_two_images_would_change_both(repo, recipe):
    repo.edit("compose/layers/app.yaml", "${APP_IMAGE:-team/app:1.4}", "${STORE_IMAGE:-postgres:17.11}")

    with pytest.raises(Unbakable, match="STORE_IMAGE chooses the image of app too"):
        recipe()


def test_an_entrypoint_of_the_layer_leaves_no_room_for_the_bake_s(repo, recipe):
    change_layer(repo, "    ports:", "    entrypoint: [sh]\n    ports:")

    with pytest.raises(Unbakable, match="replaces the image's entrypoint; drop `entrypoint` from store"):
        recipe()


@pytest.mark.parametrize(
    ("text", "only_rows"),
    [
        ("INSERT INTO thing VALUES (2); SELECT setval('s', 2);", True),
        ("-- rows\nWITH x AS (SELECT 1) INSERT INTO thing SELECT * FROM x;", True),
        ("INSERT INTO thing VALUES (2); CREATE TABLE more (id int);", False),
        ("DO $$ BEGIN PERFORM 1; END $$;", False),
    ],
)
def test_fixtures_that_may_change_the_schema_are_told_from_those_that_add_rows(repo, recipe, text, only_rows):
    repo.write("fixtures/base/20.sql", text)

    assert recipe().only_rows is only_rows


# The shelf


def shelved(reference: str, *, age: timedelta = timedelta(), **other) -> Shelved:
    usual = {"ground": "g", "migrations": (), "only_rows": True, "checkout": "here", "size": 10}
    return Shelved(reference, used=NOW - age, **(usual | other))


def wanted(*migrations: str) -> Recipe:
    return Recipe("postgres", "POSTGRES_IMAGE", "postgres:17.11", "sha256:1", "g", migrations, True, "hash")


def test_a_new_bake_goes_on_from_the_older_one_that_lacks_least():
    one, two = shelved("one", migrations=("1:a",)), shelved("two", migrations=("1:a", "2:b"))

    assert shelf.best_start(wanted("1:a", "2:b", "3:c"), [one, two]) is two


@pytest.mark.parametrize(
    "other",
    [
        shelved("edited", migrations=("1:x",)),
        shelved("newer", migrations=("1:a", "2:b", "3:c")),
        shelved("of another ground", migrations=("1:a",), ground="other"),
        shelved("with a changed schema", migrations=("1:a",), only_rows=False),
    ],
    ids=lambda one: one.reference,
)
def test_a_bake_that_is_not_on_the_way_is_not_gone_on_from(other):
    assert shelf.best_start(wanted("1:a", "2:b"), [other]) is None


def test_an_image_is_a_recipe_s_bake_only_where_all_that_it_says_of_itself_fits(tmp_path):
    recipe = wanted("1:a", "2:b")
    said = shelf.labels(recipe, tmp_path, "api", 10)

    assert shelf.differs(said, recipe) == ""
    assert shelf.differs(said | {shelf.BAKE: "another"}, recipe) == shelf.BAKE
    assert shelf.differs(said | {shelf.MIGRATIONS: "1:a"}, recipe) == shelf.MIGRATIONS
    assert shelf.differs({}, recipe) == shelf.BAKE


def names(found: list[Shelved]) -> list[str]:
    return [one.reference for one in found]


def test_what_nobody_used_for_two_weeks_goes_whoever_s_it_is():
    old, fresh = timedelta(days=15), timedelta(days=13)
    all_of_them = [shelved("a", age=fresh), shelved("b", age=old), shelved("c", age=old, checkout="there")]

    assert names(shelf.outdated(all_of_them, "here", NOW)) == ["b", "c"]


def test_a_checkout_keeps_its_last_six_and_leaves_another_s_alone():
    ours = [shelved(f"{number}") for number in range(8)]
    theirs = [shelved(f"their {number}", checkout="there") for number in range(8)]

    assert names(shelf.outdated([*theirs, *ours], "here", NOW)) == ["6", "7"]


def test_a_checkout_keeps_two_gigabytes():
    large = [shelved(f"{number}", size=900 * 1024**2) for number in range(3)]

    assert names(shelf.outdated(large, "here", NOW)) == ["2"]


def test_the_engine_keeps_four_gigabytes_whoever_s_they_are():
    theirs = [shelved(f"{number}", size=900 * 1024**2, checkout=f"{number}") for number in range(6)]

    assert names(shelf.outdated(theirs, "here", NOW)) == ["4", "5"]


def test_make_clean_removes_all_of_a_checkout():
    assert names(shelf.outdated([shelved("a"), shelved("b", checkout="there")], "here", NOW, every=True)) == ["a"]
