"""`make engine` against real engines: the one that answers, those that don't, a second daemon, and a bare machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from itest.machine import engine

ROOT = Path(__file__).resolve().parents[3]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = 65534


def make_engine(**changes: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the verb, never installing anything."""
    environment = os.environ | {"ITEST_ENGINE": "off"} | changes
    command = [sys.executable, "scripts/engine.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_an_engine_that_answers_is_used_and_described():
    found = engine.ensure(pytest.fail)
    code, out, err = make_engine()
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()[:2]] == [
        ["engine", found.server_version],
        ["compose", found.compose_version],
    ]
    assert found.host in out


def test_asking_costs_a_fraction_of_a_second():
    engine.ensure(pytest.fail)
    started = time.perf_counter()
    engine.ensure(pytest.fail)
    assert time.perf_counter() - started < 0.5


def test_a_docker_host_where_nobody_listens_is_named(tmp_path):
    host = f"unix://{tmp_path}/nobody.sock"
    code, out, err = make_engine(DOCKER_HOST=host)
    assert (code, out) == (3, "")
    assert err.startswith(f"itest: error: docker engine {host} (chosen by DOCKER_HOST): ")
    assert err.endswith("\nhint: make it answer, or: unset DOCKER_HOST\n")


@AS_ROOT
def test_where_an_engine_was_chosen_nothing_is_installed_or_started(tmp_path):
    code, _, err = make_engine(DOCKER_HOST=f"unix://{tmp_path}/nobody.sock", ITEST_ENGINE="")
    assert code == 3
    assert len(err.splitlines()) == 2  # the error and its hint: nothing was announced


def test_an_unknown_context_is_told_in_dockers_words():
    code, _, err = make_engine(DOCKER_CONTEXT="no-such-context")
    assert code == 3
    assert "(chosen by context no-such-context)" in err
    assert "context not found" in err


def test_without_docker_on_the_path_it_is_missing(tmp_path):
    code, _, err = make_engine(PATH=str(tmp_path))
    assert code == 3
    assert err.startswith("itest: error: docker engine: not installed\nhint: ")


@AS_ROOT
def test_a_socket_that_the_user_may_not_use_is_a_matter_of_permission():
    """A real listener behind a socket of mode 0600, asked by user nobody."""
    folder = Path(f"/tmp/itest-socket-{os.getpid()}")  # pytest's own folders are closed to nobody
    folder.mkdir(mode=0o755)
    path = folder / "docker.sock"
    ask = (
        "from itest.errors import run_verb\n"
        "from itest.machine import engine\n"
        "run_verb(lambda: print(engine.ensure(print)))"
    )
    try:
        shutil.copytree(ROOT / "scripts" / "itest", folder / "itest")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen()
            done = subprocess.run(
                [
                    "/usr/bin/env",
                    "-u",
                    "DOCKER_CONFIG",
                    shutil.which("python3", path="/usr/bin") or "python3",
                    "-c",
                    ask,
                ],
                cwd=folder,
                env=os.environ | {"DOCKER_HOST": f"unix://{path}", "HOME": str(folder)},
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
            )
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 3, done.stderr
    assert f"docker engine unix://{path}: no permission on its socket" in done.stderr


def test_a_broken_compose_plugin_is_told_from_an_engine_that_is_down(tmp_path):
    plugin(tmp_path, "exit 1")
    code, _, err = make_engine(DOCKER_CONFIG=str(tmp_path), DOCKER_HOST=engine.ensure(pytest.fail).host)
    assert code == 3
    assert err.startswith("itest: error: docker compose plugin: not installed, or broken: docker says `")


def test_an_old_compose_is_named_with_its_version(tmp_path):
    """Docker's own client calls this plugin, as it would call an old Compose."""
    metadata = json.dumps({"SchemaVersion": "0.1.0", "Vendor": "Docker Inc.", "Version": "v2.10.2"})
    plugin(tmp_path, f"[ \"$1\" = docker-cli-plugin-metadata ] && echo '{metadata}' || echo 2.10.2")
    code, _, err = make_engine(DOCKER_CONFIG=str(tmp_path), DOCKER_HOST=engine.ensure(pytest.fail).host)
    assert code == 3
    assert err.startswith("itest: error: docker compose 2.10.2: too old, itest needs 2.24 or newer\nhint: ")


def plugin(configuration: Path, script: str) -> None:
    """A compose plugin in docker's own configuration folder, where it comes before the system's."""
    path = configuration / "cli-plugins" / "docker-compose"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


# A second daemon has no place beside the machine's own in its network namespace, where `--bridge=none` alone deletes
# docker0. So everything that starts one as a bare machine would happens in a container.
BARE_MACHINE = """
apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 procps >/dev/null
cd /itest
ITEST_ENGINE=off python3 scripts/engine.py; echo "off: $?"
for one in 1 2 3; do python3 scripts/engine.py & done; wait
docker info --format 'pool: {{(index .DefaultAddressPools 0).Size}}'
kill "$(cat /run/docker.pid)"; while [ -e /run/docker.pid ]; do sleep 0.1; done
ITEST_ENGINE=off python3 scripts/engine.py; echo "stopped: $?"
python3 scripts/engine.py; echo "started: $?"
[ "$(ps -o sid= -p "$(cat /run/docker.pid)")" -eq "$(cat /run/docker.pid)" ] && echo "a session of its own"
kill "$(cat /run/docker.pid)"; while [ -e /run/docker.pid ]; do sleep 0.1; done
mkdir -p /etc/docker; echo '{"no-such-setting": 1}' >/etc/docker/daemon.json
python3 scripts/engine.py; echo "misconfigured: $?"
"""


@pytest.mark.skipif(
    "ITEST_SLOW" not in os.environ, reason="45 s each and the distribution's packages; ITEST_SLOW=1 runs it"
)
@pytest.mark.parametrize("release", ["trixie", "bookworm"])
def test_a_bare_debian_gets_an_engine_installed_and_started(release, tmp_path):
    """In a privileged container of nothing but the distribution's base, three first calls at once."""
    image = f"itest-bare:{release}"
    name = f"itest-bare-{release}-{os.getpid()}"
    base = tmp_path / "base.tar"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", release, str(base)], check=True)
    subprocess.run(["docker", "import", str(base), image], check=True, capture_output=True)
    mounts = ["--volume=/var/lib/docker", f"--volume={ROOT}/scripts:/itest/scripts:ro"]
    command = ["docker", "run", "--rm", "--privileged", f"--name={name}", *mounts, image, "bash", "-c", BARE_MACHINE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)
        subprocess.run(["docker", "rmi", image], capture_output=True, check=False)
    said = done.stdout + done.stderr
    assert "docker engine: not installed" in done.stderr, said
    assert "off: 3\n" in done.stdout, said
    assert done.stderr.count("itest: installing") == 1, said
    assert "another process sets the engine up; waiting for it …" in done.stderr, said
    assert done.stdout.count("unix:///var/run/docker.sock") == 4, said
    assert "pool: 24\n" in done.stdout, said
    assert "docker engine unix:///var/run/docker.sock: installed, but not running\nhint: make engine" in done.stderr, (
        said
    )
    assert "stopped: 3\n" in done.stdout, said
    assert "started: 0\n" in done.stdout, said
    assert "a session of its own\n" in done.stdout, said
    assert "misconfigured: 3\n" in done.stdout, said
    assert "docker engine: it does not start: dockerd exited with 1\n" in done.stderr, said
    assert "no-such-setting" in done.stderr, said
