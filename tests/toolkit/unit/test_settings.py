"""Settings: from variables, from flags, and from make's command line by the Makefile itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from itest import cli, settings
from itest.errors import ItestError
from itest.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
NAMES = [setting.name for setting in fields(Settings)]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    """No setting of the shell that runs these tests, and its working folder back afterwards: cli.parse changes it."""
    for name in [name for name in os.environ if name.startswith("ITEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(ROOT)


def refusal(step) -> str:
    with pytest.raises(ItestError) as caught:
        step()
    assert (caught.value.category, caught.value.cause) == ("usage", "arguments")
    return str(caught.value).removeprefix("itest: error: ")


def test_without_any_variable_every_setting_has_its_default():
    assert settings.read() == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("suite", "api", "api"),
        ("tags", "slow", "slow"),
        ("jobs", "4", 4),
        ("jobs", "0", 0),
        ("keep", "1", True),
        ("keep", "No", False),
        ("profile", "ci", "ci"),
        ("args", "-k x", "-k x"),
        ("service", "shop", "shop"),
        ("bake", "0", ""),
        ("bake", "Yes", "on"),
        ("bake", "registry.example:5000/team/itest-bake", "registry.example:5000/team/itest-bake"),
        ("bake", "team/a.b__c--d", "team/a.b__c--d"),
        ("engine", "off", "off"),
        ("timeout_factor", "2.5", 2.5),
        ("test_timeout", "0.5", 0.5),
        ("stage_timeout", "0", 0.0),
        ("suite_timeout", "60", 60.0),
        ("run_timeout", "7200", 7200.0),
        ("all", "true", True),
        ("peers", "1", True),
        ("seed", "42", 42),
        *[(name, "", getattr(Settings, name)) for name in NAMES],
    ],
)
def test_each_setting_is_read_from_its_variable(monkeypatch, name, text, value):
    monkeypatch.setenv(f"ITEST_{name.upper()}", text)
    assert getattr(settings.read(), name) == value


def test_bakes_are_shared_where_bake_names_a_repository_and_only_there():
    given = {text: Settings(bake=settings.parse("bake", text, "")) for text in ("0", "1", "registry.example/bake")}
    assert [one.bake_repository for one in given.values()] == ["", "", "registry.example/bake"]
    assert [bool(one.bake) for one in given.values()] == [False, True, True]


def test_every_setting_is_among_those_that_are_tested():
    tested = test_each_setting_is_read_from_its_variable.pytestmark[0].args[1]
    assert {name for name, text, _ in tested if text} == set(NAMES)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("jobs", "many", "a whole number, 0 or more,"),
        ("jobs", "-1", "a whole number, 0 or more,"),
        ("jobs", "1.5", "a whole number, 0 or more,"),
        ("timeout_factor", "0", "a number above 0"),
        ("timeout_factor", "-2", "a number above 0"),
        ("timeout_factor", "nan", "a number above 0"),
        ("timeout_factor", "inf", "a number above 0"),
        ("timeout_factor", "2x", "a number above 0"),
        ("test_timeout", "2m", "a number of seconds, 0 or more,"),
        ("run_timeout", "-1", "a number of seconds, 0 or more,"),
        ("suite_timeout", "inf", "a number of seconds, 0 or more,"),
        ("keep", "2", "1 or 0"),
        ("all", "maybe", "1 or 0"),
        ("engine", "of", "auto or off"),
        *[
            ("bake", text, "1, 0 or a repository like registry.example/team/bake")
            for text in ("no-thanks", "2", "registry.example:5000", "registry.example/Team", "registry.example/team:1")
        ],
        ("bake", "https://registry.example/team", "1, 0 or a repository like registry.example/team/bake"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_as_variable_and_as_flag(monkeypatch, name, text, expected):
    if not isinstance(getattr(Settings, name), bool):
        flag = f"--{name.replace('_', '-')}"
        refused = refusal(lambda: cli.parse("", name, arguments=[f"{flag}={text}"]))
        assert refused == f"{flag} {text}: {expected} is expected"
    monkeypatch.setenv(f"ITEST_{name.upper()}", text)
    assert refusal(settings.read) == f"ITEST_{name.upper()}={text}: {expected} is expected"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("ITEST_SUIT", "ITEST_SUITE"), ("ITEST_suite", "ITEST_SUITE"), ("ITEST_IMAGE", "ITEST_IMAGES")],
)
def test_a_mistyped_variable_is_refused_with_the_nearest(monkeypatch, variable, meant):
    monkeypatch.setenv(variable, "database")
    assert refusal(lambda: cli.parse("", arguments=[])) == (
        f"unknown setting {variable}\nhint: did you mean {meant}? `unset {variable}` removes it"
    )


def test_a_variable_that_is_near_nothing_is_refused_with_where_to_look(monkeypatch):
    monkeypatch.setenv("ITEST_ZZZ", "1")
    assert refusal(settings.read) == (
        "unknown setting ITEST_ZZZ\n"
        "hint: scripts/README.md has the table of those there are; `unset ITEST_ZZZ` removes it"
    )
    monkeypatch.setenv("ITEST_ZZZ", "")
    assert settings.read() == Settings()


def test_a_shell_that_holds_the_addresses_of_a_stack_is_no_mistake(monkeypatch):
    for name in ("POSTGRES_DSN", "SHOP_URL", "MY_SHOP_HOST", "MY_SHOP_PORT"):
        monkeypatch.setenv(f"ITEST_{name}", "x")
    assert settings.read() == Settings()


def test_every_variable_that_is_documented_or_read_anywhere_is_taken(monkeypatch):
    files = [
        path
        for top in ("scripts", "compose")
        for kind in ("py", "md", "yaml")
        for path in (ROOT / top).rglob(f"*.{kind}")
    ]
    texts = [path.read_text(encoding="utf-8") for path in files]
    quoted = {name for text in texts for name in re.findall(r"""["`{](ITEST_[A-Z_]+)(?=["`:}])""", text)}
    assert {"ITEST_SUITE", "ITEST_LEASE", "ITEST_STACK", "ITEST_PIP_ENV"} < quoted
    for name in quoted - {f"ITEST_{name.upper()}" for name in NAMES}:
        monkeypatch.setenv(name, "x")
    assert settings.read() == Settings()


def test_a_flag_beats_a_variable(monkeypatch):
    monkeypatch.setenv("ITEST_SUITE", "api")
    monkeypatch.setenv("ITEST_TIMEOUT_FACTOR", "3")
    given = cli.parse("", "suite", "keep", "timeout_factor", arguments=["--suite", "database", "--keep"])
    assert (given.suite, given.keep, given.timeout_factor) == ("database", True, 3.0)


def test_a_verb_has_flags_for_its_own_settings_only(capsys):
    with pytest.raises(SystemExit) as left:
        cli.parse("", "suite", arguments=["--keep"])
    assert left.value.code == 2
    assert "unrecognized arguments: --keep" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"), [("", []), ("api", ["api"]), (" api , database ,", ["api", "database"]), (",", [])]
)
def test_suites_and_tags_are_comma_separated(text, words):
    assert (Settings(suite=text).suites, Settings(tags=text).tag_list) == (words, words)


def test_arguments_are_split_as_a_shell_would():
    assert Settings(args="""-k "refund or order" -x --tb=short""").arguments == [
        "-k",
        "refund or order",
        "-x",
        "--tb=short",
    ]


def test_an_open_quote_in_the_arguments_is_told_with_how_to_close_it():
    refused = refusal(lambda: Settings(args="-k 'a").arguments)
    assert refused == (
        'ITEST_ARGS "-k \'a": No closing quotation\n'
        """hint: quote the whole and what holds spaces: ARGS='-k "refund or order"'"""
    )


# make


@pytest.fixture(scope="session")
def stub(tmp_path_factory) -> Path:
    """In Python's place: writes down what make hands it. The Makefile under test is this repository's own."""
    path = tmp_path_factory.mktemp("make") / "python"
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"given = {{name: value for name, value in os.environ.items() if name.startswith('ITEST_')}}\n"
        f"json.dump([sys.argv[1:], given], open({str(path.with_name('told'))!r}, 'w'))\n"
    )
    path.chmod(0o755)
    return path


def make(stub: Path, *words: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    """Run make; what its recipe ran, and the ITEST_* variables that it had."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ITEST_", "MAKE", "MFLAGS"))}
    subprocess.run(["make", f"PYTHON={stub}", *words], cwd=ROOT, env=clean | environment, check=True)
    arguments, variables = json.loads(stub.with_name("told").read_text())
    return arguments, variables


def test_make_runs_the_verb_of_the_target(stub):
    assert make(stub, "itest") == (["scripts/itest/machine/venv.py", "scripts/run.py"], {})


def test_every_setting_on_make_s_command_line_is_a_variable_of_the_verb(stub):
    words = [f"{name.upper()}=value of {name}" for name in NAMES]
    _, variables = make(stub, "up", *words)
    assert variables == {f"ITEST_{name.upper()}": f"value of {name}" for name in NAMES}


def test_make_x_is_itest_x_and_beats_it(stub):
    assert make(stub, "itest", ITEST_SUITE="api")[1] == {"ITEST_SUITE": "api"}
    assert make(stub, "itest", "SUITE=database", ITEST_SUITE="api")[1] == {"ITEST_SUITE": "database"}


def test_a_variable_that_a_shell_exports_under_the_short_name_does_not_count(stub):
    assert make(stub, "itest", **{name.upper(): "from the shell" for name in NAMES})[1] == {}
    assert make(stub, "-e", "itest", TAGS="from the shell")[1] == {}
    assert make(stub, "test", ARGS="from the shell")[0] == [
        "scripts/itest/machine/venv.py",
        "-m",
        "pytest",
        "-n",
        "3",
        "tests/toolkit",
    ]


HOSTILE = st.text(st.sampled_from("ab $#'\"\\%:=(){},;*?~&|<>`é\t"), max_size=12).map(str.strip)


@example_settings(max_examples=25, deadline=None)
@given(text=HOSTILE)
@example(text="${")  # make itself would choke on it
@example(text="$(SUITE) $HOME $$")
def test_any_value_passes_make_unchanged(stub, text):
    assert make(stub, "itest", f"ARGS={text}")[1] == {"ITEST_ARGS": text}
    assert make(stub, "itest", ITEST_ARGS=text)[1] == {"ITEST_ARGS": text}


def test_arguments_of_make_test_are_split_by_the_shell(stub):
    arguments, _ = make(stub, "test", """ARGS=-k "refund or order" -x""")
    assert arguments[5:] == ["tests/toolkit", "-k", "refund or order", "-x"]
    assert make(stub, "test", ITEST_ARGS="-x")[0][5:] == ["tests/toolkit", "-x"]


def test_a_mistyped_setting_on_makes_command_line_is_refused_and_what_compose_reads_is_not(stub):
    typed = subprocess.run(["make", "help", "SUTE=api"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (typed.returncode, typed.stdout) == (2, "")
    assert "no setting is called SUTE; there are SUITE TAGS" in typed.stderr
    assert make(stub, "itest", "POSTGRES_IMAGE=postgres:15.20")[0][-1] == "scripts/run.py"
