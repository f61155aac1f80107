"""Images without an engine: references, what a build depends on, who needs what, and what a failed pull means."""

from __future__ import annotations

from pathlib import Path

import pytest

from itest import images
from itest.errors import ItestError
from itest.images import ImageReport
from itest.images import build as image_build
from itest.images import inputs as image_inputs
from itest.images import pull as image_pull
from itest.images import ref as image_ref
from itest.images.needs import BuildSpec, ImageNeed, needs_of
from itest.images.pull import PullError
from itest.images.standins import StandIns

ROOT = Path(__file__).resolve().parents[3]


# References


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("postgres:17.11", "", "postgres", "17.11", ""),
        ("postgres", "", "postgres", "latest", ""),
        ("itest/shop:dev", "", "itest/shop", "dev", ""),
        ("registry.example/x/y:1", "registry.example", "x/y", "1", ""),
        ("localhost/shop", "localhost", "shop", "latest", ""),
        ("localhost:5000/team/shop:2", "localhost:5000", "team/shop", "2", ""),
        ("10.0.0.1:5000/shop", "10.0.0.1:5000", "shop", "latest", ""),
        ("redis@sha256:abc", "", "redis", "", "sha256:abc"),
        ("registry.example/x/y:1@sha256:abc", "registry.example", "x/y", "1", "sha256:abc"),
    ],
)
def test_a_reference_is_taken_apart_as_docker_does(text, registry, repository, tag, digest):
    assert image_ref.parse(text) == image_ref.Reference(registry, repository, tag, digest)


# Stand-ins


@pytest.mark.parametrize(
    ("reference", "release"),
    [
        ("postgres:17.11", "trixie"),
        ("postgres:17", "trixie"),
        ("postgres:15.20", "bookworm"),
        ("postgres:17.11-trixie", "trixie"),
        ("python:3.13.5-slim", "trixie"),
        ("python:3.11.2-slim-bookworm", "bookworm"),
        ("rabbitmq:4.0.5-management", "trixie"),
    ],
)
def test_a_version_is_found_by_its_prefix(reference, release):
    found = StandIns(ROOT).find(reference)
    assert found is not None
    assert (found.release, found.base) == (release, f"itest/base:{release}")
    assert found.arguments["WANTED"] == reference.partition(":")[2].partition("-")[0]


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("postgres:16.1", "a version that no release has"),
        ("postgres:170.1", "17 is a number, not some letters"),
        ("postgres:17.11-alpine", "other paths and user ids"),
        ("postgres:17.11-bookworm", "the other release"),
        ("rabbitmq:4.1.0-management", "a version whose number only begins in the same way"),
        ("registry.example/postgres:17.11", "somebody's own image"),
        ("postgres@sha256:abc", "exactly these bytes"),
        ("nginx:1.27", "unknown"),
    ],
)
def test_nothing_stands_in_for_what_it_cannot_be(reference, why):
    assert StandIns(ROOT).find(reference) is None, why


def test_versions_that_yaml_reads_as_numbers_are_refused_with_the_remedy(tmp_path):
    (tmp_path / "compose/images").mkdir(parents=True)
    (tmp_path / "compose/images/standins.yaml").write_text("postgres: {17: trixie}\n")
    with pytest.raises(ItestError) as caught:
        StandIns(tmp_path)
    assert caught.value.category == "usage"
    assert '"17"' in caught.value.hint


# What a build depends on


@pytest.fixture
def context(tmp_path) -> Path:
    folder = tmp_path / "app"
    for path, text in {
        "Dockerfile": "ARG PYTHON=python:3\nFROM ${PYTHON}\nCOPY . .\n",
        "main.py": "print()\n",
        "pkg/mod.py": "",
        "notes.md": "",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def spec(folder: Path, **args: str) -> BuildSpec:
    return BuildSpec(str(folder), args=args)


def change_content(folder: Path) -> None:
    (folder / "main.py").write_text("print(1)\n")


def add_a_file(folder: Path) -> None:
    (folder / "pkg/new.py").touch()


def rename_a_file(folder: Path) -> None:
    (folder / "pkg/mod.py").rename(folder / "pkg/other.py")


def make_executable(folder: Path) -> None:
    (folder / "main.py").chmod(0o755)


def change_dockerfile(folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM scratch\n")


@pytest.mark.parametrize("edit", [change_content, add_a_file, rename_a_file, make_executable, change_dockerfile])
def test_the_hash_changes_with_every_input(context, edit):
    before = spec(context).hash
    edit(context)
    assert spec(context).hash != before


def test_the_hash_changes_with_arguments_and_settings(context):
    hashes = {spec(context).hash, spec(context, A="1").hash, BuildSpec(str(context), flags=("--target=x",)).hash}
    assert len(hashes) == 3


def test_the_hash_is_the_same_in_another_checkout_and_after_touching(context, tmp_path):
    before = spec(context).hash
    (context / "main.py").touch()
    moved = context.rename(tmp_path / "elsewhere")
    assert spec(moved).hash == before


def test_what_never_reaches_the_builder_does_not_count(context):
    (context / ".dockerignore").write_text("*.md\n!README.md\n**/*.log\ntmp/\n")
    (context / "README.md").touch()
    before = spec(context).hash
    for ignored in ("notes.md", "pkg/deep.log", "tmp/x", "__pycache__/main.pyc"):
        (context / ignored).parent.mkdir(exist_ok=True)
        (context / ignored).write_text("changed")
    assert spec(context).hash == before
    (context / "README.md").write_text("brought back by its `!`")
    assert spec(context).hash != before


def test_an_ignore_file_that_names_only_exceptions_keeps_those(context):
    (context / ".dockerignore").write_text("*\n!pkg/\n")
    kept = {
        path.relative_to(context).as_posix() for path in image_inputs.context_files(context, context / "Dockerfile")
    }
    assert kept == {"Dockerfile", ".dockerignore", "pkg/mod.py"}


def test_a_stand_in_depends_on_its_own_folder_and_on_the_base(tmp_path):
    for path in ("base/install-packages", "redis/Dockerfile", "postgres/Dockerfile"):
        (tmp_path / "compose/images" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "compose/images" / path).write_text("1")
    (tmp_path / "compose/images/standins.yaml").write_text('redis: {"8": trixie}\n')

    def current() -> str:
        found = StandIns(tmp_path).find("redis:8.0.2")
        assert found is not None
        return found.hash

    first = current()
    (tmp_path / "compose/images/postgres/Dockerfile").write_text("2")
    assert current() == first
    (tmp_path / "compose/images/redis/Dockerfile").write_text("2")
    second = current()
    assert second != first
    (tmp_path / "compose/images/base/install-packages").write_text("2")
    assert current() != second


def test_the_images_that_a_dockerfile_starts_from_are_found_with_the_variable_that_chooses_them():
    text = """
        ARG PYTHON_IMAGE=python:3.13.5-slim
        ARG NODE="node:22"
        # FROM commented:1
        FROM --platform=linux/amd64 ${NODE} AS Assets
        FROM $PYTHON_IMAGE AS app
        ARG NODE=ignored-inside-a-stage
        COPY --from=assets /x /x
        FROM app
        FROM scratch
        FROM \\
            busybox:1.36
    """
    assert image_inputs.bases(text, {"PYTHON_IMAGE": "python:3.11-slim"}) == [
        ("node:22", "NODE"),
        ("python:3.11-slim", "PYTHON_IMAGE"),
        ("busybox:1.36", ""),
    ]


def test_a_context_without_a_dockerfile_is_said_so(tmp_path):
    with pytest.raises(ItestError, match="there is no Dockerfile"):
        _ = spec(tmp_path).bases


# Who needs what


def config(**services: dict[str, object]) -> dict[str, object]:
    return {"name": "itest-x", "services": services, "secrets": {"npm": {"file": "/x/npmrc"}}}


def test_each_image_is_needed_once_with_its_variable():
    found = needs_of(
        config(
            postgres={"image": "postgres:17.11"},
            replica={"image": "postgres:17.11"},
            my_app={"image": "x:1", "build": None},
        )
    )
    assert [need.ref for need in found] == ["postgres:17.11", "x:1"]
    assert found[1].variable == "MY_APP_IMAGE"


def test_a_build_is_taken_over_from_compose_with_all_its_settings(monkeypatch):
    monkeypatch.setenv("FROM_SHELL", "yes")
    build = {
        "context": "/src/app",
        "dockerfile": "docker/Dockerfile",
        "args": {"A": "1", "FROM_SHELL": None},
        "target": "prod",
        "labels": {"team": "x"},
        "additional_contexts": {"shared": "/src/shared"},
        "secrets": [{"source": "ca"}, {"source": "npm"}],
    }
    [need] = needs_of(config(shop={"image": "shop:1", "build": build}))
    assert need.build == BuildSpec(
        "/src/app",
        "docker/Dockerfile",
        {"A": "1", "FROM_SHELL": "yes"},
        ("--build-context=shared=/src/shared", "--label=team=x", "--target=prod", "--secret=id=npm,src=/x/npmrc"),
    )


def test_a_build_setting_that_would_be_lost_is_refused():
    with pytest.raises(ItestError, match=r"service shop: build\.privileged is not passed on") as caught:
        needs_of(config(shop={"image": "shop:1", "build": {"context": "/x", "privileged": True}}))
    assert caught.value.category == "usage"


def test_a_built_service_needs_a_name_for_its_image():
    with pytest.raises(ItestError, match="service shop") as caught:
        needs_of(config(shop={"build": {"context": "/x"}}))
    assert "image: itest/shop:dev" in caught.value.hint


# What a failed pull means: docker's own words, as seen

WORDS = [
    ("manifest for postgres:99 not found: manifest unknown: manifest unknown", "not found"),
    ("no matching manifest for linux/arm64/v8 in the manifest list entries", "not found"),
    ("failed to resolve reference \"docker.example/library/x:1\": docker.example/library/x:1: not found", "not found"),
    ("pull access denied for nosuch, repository does not exist or may require 'docker login': denied: requested access "
     "to the resource is denied", "denied"),
    ("Head \"https://r.example/v2/x/manifests/1\": no basic auth credentials", "denied"),
    ("Head \"https://r.example/v2/x/manifests/1\": unauthorized: authentication required", "denied"),
    ("error parsing HTTP 403 response body: 403 Forbidden", "denied"),
    ("toomanyrequests: You have reached your pull rate limit.", "rate limit"),
    ("received unexpected HTTP status: 429 Too Many Requests", "rate limit"),
    ("Get \"https://r.example/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
     "certificate"),
    ("received unexpected HTTP status: 503 Service Unavailable", "transient"),
    ("received unexpected HTTP status: 500 Internal Server Error", "transient"),
    ("Get \"https://r.example/v2/\": net/http: TLS handshake timeout", "transient"),
    ("Get \"https://r.example/v2/\": read tcp 1.2.3.4:5->6.7.8.9:443: read: connection reset by peer", "transient"),
    ("Get \"https://r.example/v2/\": EOF", "transient"),
    ("unexpected EOF", "transient"),
    ("Get \"https://r.example/v2/\": dial tcp: lookup r.example on 10.0.0.53:53: no such host", "unreachable"),
    ("Get \"http://localhost:5999/v2/\": dial tcp 127.0.0.1:5999: connect: connection refused", "unreachable"),
    ("Get \"https://r.example/v2/\": dial tcp 192.0.2.1:443: i/o timeout", "unreachable"),
    ("Get \"https://r.example/v2/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
     "unreachable"),
    ("Get \"https://r.example/v2/\": proxyconnect tcp: dial tcp 10.0.0.1:3128: i/o timeout", "unreachable"),
    ("failed to register layer: write /usr/lib/x: no space left on device", "disk"),
    ("invalid reference format", "other"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "reason"), WORDS)
def test_dockers_words_are_understood(words, reason):
    assert image_pull.classify(words) == reason


@pytest.mark.parametrize(
    ("reference", "reason", "hint"),
    [
        ("postgres:99", "not found", "POSTGRES_IMAGE=…"),
        ("postgres:17", "transient", "run again in a while, or name another image by POSTGRES_IMAGE=…"),
        ("registry.example/x/postgres:17", "denied", "docker login registry.example"),
        ("postgres:17", "rate limit", "docker login raises the limit"),
        ("postgres:16", "unreachable", "versions 17, 15 can be built"),
        ("nginx:1.27", "unreachable", "give the engine a way to the registry"),
    ],
)
def test_a_failed_pull_is_told_with_what_mends_it(reference, reason, hint):
    need = ImageNeed(reference, variable="POSTGRES_IMAGE")
    error = image_pull.explain(need, PullError(reason, "docker's words"), StandIns(ROOT))
    assert (error.category, error.cause) == ("image", "pull")
    assert error.message.startswith(f"image {reference}: ")
    assert error.message.endswith("docker's words")
    assert hint in error.hint


def test_of_a_base_image_the_dockerfile_is_named_as_it_has_no_variable():
    error = image_pull.explain(ImageNeed("registry.example/x:1"), PullError("denied", "no"), StandIns(ROOT))
    assert error.hint == "docker login registry.example, or name another after FROM in the Dockerfile"


def test_a_full_disk_is_the_engines_trouble_not_the_images():
    error = image_pull.explain(ImageNeed("x:1"), PullError("disk", "no space left on device"), StandIns(ROOT))
    assert (error.category, error.cause) == ("engine", "disk")


# What of the host reaches a build


def test_proxies_reach_a_build_in_both_spellings(monkeypatch):
    for name in image_build.PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    assert image_build.proxies() == {
        "HTTPS_PROXY": "http://127.0.0.1:3128",
        "https_proxy": "http://127.0.0.1:3128",
    }


def test_of_pips_settings_only_what_a_container_can_reach_is_passed_on(monkeypatch, tmp_path):
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://index.example/simple\ntrusted-host = index.example\n"
        "extra-index-url =\n    file:///srv/wheels\n    https://more.example/simple\nfind-links = /srv/wheels\n"
    )
    for name in image_build.PIP_SETTINGS:
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@mine.example/simple")
    found = image_build.pip_settings()
    assert found["INDEX_URL"] == "https://user:secret@mine.example/simple", "the environment wins"
    assert found["EXTRA_INDEX_URL"] == "https://more.example/simple"
    assert found["TRUSTED_HOST"] == "index.example"
    assert "FIND_LINKS" not in found


def test_a_failing_step_is_told_with_its_last_lines():
    told: list[str] = []
    progress = image_build._Progress(told.append)
    for line in (
        "#1 [internal] load build definition from Dockerfile",
        "#7 [stage-1 3/9] RUN --mount=type=secret,id=ca   pip install   nothing",
        "#7 0.412 Collecting nothing",
        "#7 1.002 ERROR: No matching distribution found for nothing",
        '#7 ERROR: process "/bin/sh -c pip install nothing" did not complete successfully: exit code: 1',
        "------",
    ):
        progress(line)
    assert told[0] == "step 3/9 RUN pip install nothing"
    step, lines = progress.failure()
    assert step == "step 3/9 RUN pip install nothing"
    assert lines == ["Collecting nothing", "ERROR: No matching distribution found for nothing"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            'ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2',
            "exit code 2",
        ),
        (
            "ERROR: failed to solve: failed to compute cache key: failed to calculate checksum of ref a8-9::u0: "
            '"/x": not found',
            '"/x": not found',
        ),
        ("ERROR: failed to solve: dockerfile parse error on line 2", "dockerfile parse error on line 2"),
        ("------", ""),
    ],
)
def test_the_builder_s_last_word_is_told_in_brief(line, reason):
    progress = image_build._Progress(lambda _: None)
    progress(line)
    assert progress.reason() == reason


@pytest.mark.parametrize(("made", "problem"), [(False, "no such folder"), (True, "there is no Dockerfile")])
def test_a_context_that_cannot_be_built_is_named_from_where_the_command_was_typed(tmp_path, monkeypatch, made, problem):
    monkeypatch.chdir(tmp_path)
    if made:
        (tmp_path / "app").mkdir()
    with pytest.raises(ItestError, match=f"build context app: {problem}\n"):
        _ = BuildSpec(str(tmp_path / "app")).bases


# What the run's line says


@pytest.mark.parametrize(
    ("reference", "how", "contains", "line"),
    [
        ("redis:8.0.99", "built", "Redis 8.0.2", "redis:8.0.99 built as stand-in (Redis 8.0.2)"),
        ("redis:8.0.99", "present", "Redis 8.0.2", "redis:8.0.99 present as stand-in (Redis 8.0.2)"),
        ("redis:8.0.2", "built", "Redis 8.0.2", "redis:8.0.2 built as stand-in"),
        ("redis:8.0.2", "present", "Redis 8.0.2", "1 present"),
        ("postgres:17", "built", "PostgreSQL 17.11", "postgres:17 built as stand-in"),
        ("python:3.13.5-slim", "present", "Python 3.13.5", "1 present"),
    ],
)
def test_a_stand_in_of_another_version_than_its_tag_says_what_it_holds(reference, how, contains, line):
    report = ImageReport(reference, how, "", 0.1, "sha256:1", standin=True, contains=contains)
    assert images.describe([report]) == line


def test_images_that_are_no_stand_ins_are_told_by_what_was_done():
    pulled = ImageReport("postgres:17.11", "pulled", "", 3.0, "sha256:1")
    present = ImageReport("itest/shop:dev", "present", "", 0.0, "sha256:2")
    assert images.describe([pulled, present, present]) == "postgres:17.11 pulled, 2 present"
