"""What holds all over this repository, and is to stay so: no orphans, no surprises, no file that grows too long."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from itest import settings, suite
from itest.settings import Settings
from itest.suite import yamlfile

ROOT = Path(__file__).resolve().parents[3]
VERBS = sorted((ROOT / "scripts").glob("*.py"))
LIBRARY = sorted((ROOT / "scripts/itest").rglob("*.py"))
LAYERS = sorted((ROOT / "compose/layers").glob("*.yaml"))
SUITES = [suite.load(ROOT, name) for name in suite.names(ROOT)]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

# From DESIGN.md, "Interfaces that others rely on".
TARGETS = {"itest", "test", "help"}
TARGETS |= {"up", "down", "ps", "logs", "env", "shell", "wait", "migrate", "seed", "fault"}
TARGETS |= {"doctor", "images", "engine", "clean", "share", "record", "chaos", "lint", "bench", "soak"}
WITHOUT_A_VERB = {"test", "soak", "help"}  # pytest itself, and awk over the Makefile


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files() -> Iterator[Path]:
    """All that belongs to the repository: what is neither hidden nor made by running it."""
    made = {"build", "__pycache__"}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name for name in folders if name not in made and (not name.startswith(".") or name in (".ci", ".github"))
        ]
        yield from (Path(folder, name) for name in names if name != ".git")


# Suites, layers and what they name


@pytest.mark.parametrize("one", SUITES, ids=lambda one: one.name)
def test_a_suite_has_tests_a_stack_of_its_name_and_an_overlay_that_comes_last(one):
    assert list((ROOT / one.tests).glob("test_*.py")), f"{one.tests} has no test"
    assert one.kept_name == f"itest-{one.name}"
    assert one.files[-1].path.as_posix() == f"compose/suites/{one.name}.yaml"


def test_no_suite_is_half_there():
    overlays = {path.stem for path in (ROOT / "compose/suites").glob("*.yaml")}
    assert overlays == set(suite.names(ROOT))


def test_no_tests_are_without_a_suite():
    folders = {relative(path.parent) for path in (ROOT / "tests").rglob("test_*.py")}
    of_suites = tuple(one.tests.as_posix() for one in SUITES)
    assert not [folder for folder in folders if not folder.startswith((*of_suites, "tests/toolkit"))]


def test_every_layer_is_in_a_suite():
    used = {file.path.as_posix() for one in SUITES for file in one.files}
    assert {relative(path) for path in LAYERS} <= used


@pytest.mark.parametrize("kind", ["migrations", "fixtures"])
def test_no_folder_of_data_is_without_a_suite(kind):
    used = {path.as_posix() for one in SUITES for path in getattr(one, kind)}
    assert {relative(path) for path in (ROOT / kind).iterdir() if path.is_dir()} == used


@pytest.mark.parametrize("profile", sorted((ROOT / "compose/profiles").glob("*.env")), ids=lambda path: path.stem)
def test_a_profile_sets_only_what_a_layer_reads(profile):
    layers = "".join(path.read_text(encoding="utf-8") for path in LAYERS)
    set_there = re.findall(r"^(\w+)=", profile.read_text(encoding="utf-8"), re.MULTILINE)
    assert set_there
    own = {"COMPOSE_FILE"}  # to add a layer, which the loader checks
    assert [name for name in set_there if f"${{{name}:-" not in layers and name not in own] == []


def test_only_overlays_have_an_x_itest_at_top_level():
    having = {
        relative(path)
        for path in (ROOT / "compose").rglob("*.yaml")
        if "x-itest" in yamlfile.read(ROOT, path.relative_to(ROOT)).data
    }
    assert having <= {f"compose/suites/{one.name}.yaml" for one in SUITES}


# Layers


def services() -> Iterator[Any]:
    """Every service of every layer, with what it takes in from defaults.yaml."""
    defaults = yamlfile.read(ROOT, Path("compose/defaults.yaml")).data["services"]["defaults"]
    for path in LAYERS:
        for name, own in yamlfile.read(ROOT, path.relative_to(ROOT)).data["services"].items():
            extends = own.get("extends") == {"file": "defaults.yaml", "service": "defaults"}
            yield pytest.param({**(defaults if extends else {}), **own}, id=name)


@pytest.mark.parametrize("service", list(services()))
class TestEveryService:
    def test_has_few_rights(self, service):
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["read_only"] is True
        dockerfile = ROOT / "compose" / service.get("build", {}).get("context", "") / "Dockerfile"
        user = (
            service.get("user") or re.findall(r"^USER (.+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)[-1]
        )
        assert not user.startswith(("0", "root"))

    def test_has_limits(self, service):
        assert service["pids_limit"] > 0
        assert re.fullmatch(r"\$\{[A-Z_]+_MEMORY:-\d+[mg]\}", service["mem_limit"])
        assert re.fullmatch(r"\$\{[A-Z_]+_CPUS:-[\d.]+\}", str(service["cpus"]))
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}

    def test_has_an_image_that_a_variable_chooses_and_whose_default_is_pinned(self, service):
        chosen = re.fullmatch(r"\$\{[A-Z_]+_IMAGE:-[\w./-]+:(?P<tag>[\w.-]+)\}", service["image"])
        assert chosen, service["image"]
        assert chosen["tag"] != "latest"

    def test_has_a_healthcheck_that_looks_often_at_the_start(self, service):
        healthcheck = service["healthcheck"]
        assert healthcheck["test"]
        amount, unit = re.fullmatch(r"(\d+)(ms|s)", healthcheck["start_interval"]).groups()
        assert int(amount) * (1 if unit == "ms" else 1000) <= 250
        assert healthcheck["start_period"]

    def test_is_published_on_loopback_alone_on_any_free_port(self, service):
        for port in service["ports"]:
            assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+_PORT:-\}:\d+", port)

    def test_says_its_kind(self, service):
        assert service["x-itest"]["kind"]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.stem)
def test_a_layer_needs_no_variable_so_that_plain_compose_starts_it(layer):
    text = layer.read_text(encoding="utf-8")
    assert re.findall(r"(?<!\$)\$\{\w+(?!:-)\W", text) == []
    assert re.findall(r"(?<!\$)\$\w+", text) == []


# Verbs, targets and settings


def targets() -> dict[str, list[str]]:
    """The targets of the Makefile, and the lines of their recipes."""
    found = re.findall(r"^([a-z]+):(?: ##.*)?\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
    return {name: recipe.splitlines() for name, recipe in found}


def test_every_target_is_one_of_the_design():
    assert targets().keys() <= TARGETS


def test_every_target_is_phony_explained_and_one_line():
    phony = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(" ".join(phony).split()) == targets().keys()
    assert set(re.findall(r"^([a-z]+): ## \S", MAKEFILE, re.MULTILINE)) == targets().keys()
    assert {name: len(recipe) for name, recipe in targets().items()} == dict.fromkeys(targets(), 1)


def test_every_verb_has_a_target_and_every_target_a_verb():
    called = {name: re.findall(r"(?:\$\(VERB\)|scripts)/(\w+)\.py", recipe[0]) for name, recipe in targets().items()}
    assert {name for name, verbs in called.items() if not verbs} == WITHOUT_A_VERB
    assert sorted(verb for verbs in called.values() for verb in verbs) == [path.stem for path in VERBS]
    assert all(verbs in ([name], ["run"] if name == "itest" else [], []) for name, verbs in called.items())


def test_make_alone_shows_every_target_with_its_meaning():
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    shown = subprocess.run(["make"], cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make (\w+) +\S", shown, re.MULTILINE)) == targets().keys()
    assert "$$" not in shown


def documented() -> set[str]:
    table = (ROOT / "scripts/README.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `ITEST_(\w+)` \|", table, re.MULTILINE))


def test_the_table_of_settings_holds_each_of_them_and_make_takes_each():
    on_make_s_line = re.findall(r"^SETTINGS := (.*)$", MAKEFILE, re.MULTILINE)
    assert {setting.name.upper() for setting in fields(Settings)} <= documented()
    assert set(" ".join(on_make_s_line).split()) == documented()


# What the toolkit tells itself from one process to another; nobody sets them.
INTERNAL = settings.INTERNAL - {"SLOW"}  # which only tests read


def test_every_variable_that_is_read_is_in_the_table_and_every_one_in_the_table_is_read():
    strings = {
        node.value
        for path in (*VERBS, *LIBRARY)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    in_code = {found[1] for text in strings if (found := re.fullmatch(r"ITEST_([A-Z_]+)", text))}
    compose = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "compose").rglob("*") if path.suffix in (".yaml", ".env")
    )
    in_compose = set(re.findall(r"\$\{ITEST_([A-Z_]+)", compose))
    read = in_code | in_compose | {setting.name.upper() for setting in fields(Settings)}
    assert read - INTERNAL == documented()
    assert not INTERNAL - read


# Files


def test_every_folder_that_a_person_opens_has_a_readme():
    folders = {path.parent for path in files()} | {path.parent.parent for path in files()}
    without = {
        relative(folder) for folder in folders if folder.is_relative_to(ROOT) and not (folder / "README.md").is_file()
    }
    code = {relative(path.parent) for path in files() if path.name == "__init__.py"}  # its docstring says it
    data = {relative(path) for top in ("migrations", "fixtures") for path in (ROOT / top).iterdir() if path.is_dir()}
    tests = {relative(path.parent) for path in (ROOT / "tests/toolkit").rglob("*.py")}
    hidden = {".ci", ".github", ".github/workflows"}
    assert without - code - data - tests - hidden - {"compose/init"} == set()


def test_nothing_else_is_at_the_top():
    top = {relative(path).split("/")[0] for path in files()}
    wanted = {"Makefile", "README.md", "pyproject.toml", "compose", "migrations", "fixtures", "scripts", "tests"}
    assert {name for name in top if not name.startswith(".")} == wanted


DOCUMENTATION = {
    "docs.docker.com",
    "docs.pytest.org",
    "ecma-international.org",
    "github.com",
    "packaging.python.org",
    "pip.pypa.io",
    "pkg.go.dev",
    "www.freedesktop.org",
    "www.iana.org",
    "www.postgresql.org",
    "www.rabbitmq.com",
    "www.rfc-editor.org",
}
HOST = re.compile(r"(?<![\w.-])(?:[a-z0-9-]+\.)+(?:org|com|io|net|dev|cn|edu|aws|gov|cloud)(?![\w.-]*\w)")
NO_HOST = {"docker.io"}  # a package of Debian


def test_no_file_names_a_host_but_those_that_document_what_is_used():
    """Where packages and images come from is the machine's business: its own apt, pip and docker configuration."""
    named = {
        (relative(path), host)
        for path in files()
        for host in HOST.findall(path.read_text(encoding="utf-8", errors="replace"))
        if host not in DOCUMENTATION | NO_HOST and not host.endswith("example.com")
    }
    assert named == set()


# Code


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("verb", VERBS, ids=lambda path: path.stem)
def test_a_verb_is_thin_and_its_docstring_is_its_help(verb):
    text = verb.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert ast.get_docstring(ast.parse(text))
    assert verb.stem not in ("itest", "test"), "it would shadow the package or the standard library"


@pytest.mark.parametrize("module", LIBRARY, ids=lambda path: path.stem)
def test_a_module_is_short_says_what_it_is_for_and_so_does_what_others_call(module):
    text = module.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) < 250
    assert ast.get_docstring(tree)
    assert {one.name: size for one in functions(module) if (size := one.end_lineno - one.lineno + 1) > 45} == {}


SLEEPS = {"daemon"}  # runs before tenacity, the one retry policy, is installed


def test_nothing_sleeps_where_it_should_wait_for_something():
    sleeping = {
        path.stem
        for path in (*VERBS, *LIBRARY)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    }
    assert sleeping == SLEEPS


def test_what_catches_everything_raises_it_again():
    swallowing = {
        f"{relative(path)}:{node.lineno}"
        for path in (*VERBS, *LIBRARY)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    }
    assert swallowing == set()


def test_what_the_readme_shows_of_mock_and_faults_is_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Third parties") :]
    shown = re.findall(r"```python\n(.*?)```", section[: section.index("## A clean state")], re.DOTALL)
    run = [
        file.read_text(encoding="utf-8")
        for one in ("external", "resilience")
        for file in (ROOT / "tests" / one).glob("*.py")
    ]
    assert len(shown) == 2
    assert [one for one in shown if not any(one in text for text in run)] == []


def test_every_module_can_be_the_first_to_be_imported():
    """No circle of imports: what a verb imports first must not decide whether it works."""
    names = [
        relative(path)[len("scripts/") : -len(".py")].replace("/", ".").removesuffix(".__init__") for path in LIBRARY
    ]
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        if error.name not in ('mitmproxy', 'cryptography'): raise  # they are in the mock's image alone\n"
        "    for loaded in [one for one in sys.modules if one.split('.')[0] == 'itest']: del sys.modules[loaded]\n"
    )
    command = [sys.executable, "-c", program, *names]
    done = subprocess.run(command, cwd=ROOT / "scripts", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
