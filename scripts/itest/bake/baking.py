"""Baking one database: a container of its own is started as the service would be, migrated, seeded and stopped, and its
data becomes an image. No password gets into it: the container has random ones, and its roles end up with none."""

from __future__ import annotations

import io
import json
import mmap
import os
import secrets
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.sql import SQL, Identifier

from itest import compose, data, leases, runs
from itest.bake import ages, shelf
from itest.bake.inputs import Recipe, Unbakable
from itest.bake.roles import Role, variables_of
from itest.compose import Project
from itest.containers import Container
from itest.data.data import Plan
from itest.doors import DOOR
from itest.errors import ItestError
from itest.images.dockercli import query
from itest.stack.probes import Target
from itest.stack.ready import wait_ready
from itest.suite.kinds import KINDS, Endpoint
from itest.suite.suite import Suite

SCRIPT = Path(__file__).with_name("bake.sh")
REFUSAL = "itest bake: "  # how bake.sh begins what it says of a database that it can't pack
INSIDE = "usr/local/share/itest-bake"  # where the image has it, see bake.sh


@dataclass(frozen=True)
class Baker:
    """One bake under way. start: the image that it begins with, the service's own or an older bake."""

    suite: Suite
    plan: Plan
    recipe: Recipe
    start: str
    report: Callable[[str], None]

    def bake(self) -> None:
        """Make the image `recipe.reference`. Raises Unbakable, and ItestError as starting and seeding do."""
        name = f"itest-bake-{secrets.token_hex(4)}"
        values = {variable: secrets.token_hex(16) for variable in self.suite.secret_names}
        base = self.suite.project(name, {self.recipe.variable: self.start})
        if DOOR in self.suite.services:  # sealed, it would publish nothing; what is baked is the same without
            base = replace(base, env_files=base.env_files[:1])
        project = replace(base, variables=values | leases.variables(base.root, name))
        with runs.alive(self.suite.root, name), _removed(project), tempfile.TemporaryFile() as file:
            container = self._start(project)
            passwords = self._fill(container)
            self._fetch(container, file)
            _refuse_kept(file, values)
            self._shelve(project, file, passwords)

    def _start(self, project: Project) -> Container:
        """The service's container, with all that its layer says, under an entrypoint that outlives the server."""
        self.report("starting")
        entrypoint, usual = _words(self.start)
        command = [
            word.replace("$$", "$") for word in self.suite.config["services"][self.recipe.service]["command"] or usual
        ]
        run = ["run", "--detach", "--no-deps", f"--publish=127.0.0.1::{self._port}", "--entrypoint=bash"]
        words = [*run, self.recipe.service, "-c", SCRIPT.read_text(encoding="utf-8"), "bake.sh", "hold"]
        _checked(project.command(*words, *entrypoint, *command), project)
        container = project.containers(one_off=True)[self.recipe.service]
        wait_ready([Target(self.suite.services[self.recipe.service], container, project)])
        return container

    @property
    def _port(self) -> int:
        return self.suite.services[self.recipe.service].port or 5432

    def _fill(self, container: Container) -> dict[str, str]:
        """Migrate, seed, and lock every role. Returns role -> the variable that its password comes from."""
        self.report("migrating and seeding")
        address = KINDS["postgres"].address(_endpoint(container, self._port), container.environment, "")
        data.prepare(self.plan, {self.recipe.service: address})
        with psycopg.connect(address, autocommit=True) as seeded:
            ages.refuse(seeded, self.plan)
        # In another database: VACUUM FULL marks the table as touched where it runs, and the baseline would notice.
        with psycopg.connect(address, dbname="template1", autocommit=True) as session:
            asked = "SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL ORDER BY rolname"
            roles = [Role(*row) for row in session.execute(asked).fetchall()]
            found = variables_of(roles, _values(container))
            for role in found:
                session.execute(SQL("ALTER ROLE {} PASSWORD NULL").format(Identifier(role)))
            session.execute("VACUUM FULL pg_authid")  # an old row keeps its verifier until something overwrites it
            return {
                SQL("ALTER ROLE {} PASSWORD").format(Identifier(role)).as_string(session): found[role] for role in found
            }

    def _fetch(self, container: Container, file: IO[bytes]) -> None:
        """Stop the server and write its data directory to a file, as tar."""
        self.report("packing")
        command = ["docker", "exec", "--interactive", f"--user={_user(container)}", container.id, "bash", "-s", "pack"]
        with SCRIPT.open("rb") as script:
            done = subprocess.run(command, stdin=script, stdout=file, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            if said.startswith(REFUSAL):
                raise Unbakable(said.removeprefix(REFUSAL))
            raise ItestError("engine", f"docker exec: {said or 'it said nothing'}", cause="bake")

    def _shelve(self, project: Project, file: IO[bytes], passwords: Mapping[str, str]) -> None:
        """The base image with the data, the script that unpacks it, and the names of the passwords' variables."""
        size = file.seek(0, os.SEEK_END)
        entrypoint, command = _words(self.recipe.base)
        start = ["bash", f"/{INSIDE}/bake.sh", "start", *entrypoint, "--"]
        written = shelf.labels(self.recipe, self.suite.root, self.suite.name, size) | {compose.PROJECT_LABEL: ""}
        changes = [f"ENTRYPOINT {json.dumps(start)}", f"CMD {json.dumps(command)}"]
        changes += [f"LABEL {name}={json.dumps(value)}" for name, value in written.items()]
        # The project's label, so that a sweep finds it; an image would hand it on, so there it is empty.
        label = f"--label={compose.PROJECT_LABEL}={project.name}"
        made = _checked(["docker", "create", label, self.recipe.base_id], project)
        _send(made, file, passwords)
        flags = [f"--change={change}" for change in changes]
        _checked(["docker", "commit", "--pause=false", *flags, made, self.recipe.reference], project)


@contextmanager
def _removed(project: Project) -> Iterator[None]:
    try:
        yield
    finally:
        compose.remove(project.name)


def _checked(command: list[str], project: Project) -> str:
    """A docker command's output, run as compose runs. Raises ItestError (engine)."""
    environment = {**os.environ, **project.variables}
    done = subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise ItestError("engine", f"docker {command[1]}: {said}", cause="bake")
    return done.stdout.strip()


def _words(image: str) -> tuple[list[str], list[str]]:
    """The entrypoint and the command of an image."""
    config: Mapping[str, Any] = json.loads(query("image", "inspect", image).stdout)[0]["Config"]
    return config.get("Entrypoint") or [], config.get("Cmd") or []


def _endpoint(container: Container, port: int) -> Endpoint:
    return Endpoint(*container.ports[port])


def _user(container: Container) -> str:
    """Whom the server runs as: where the container's user is root, the entrypoint steps down to postgres."""
    given = query("container", "inspect", "--format={{.Config.User}}", container.id).stdout.strip()
    return "postgres" if given.partition(":")[0] in ("", "0", "root") else given


def _values(container: Container) -> dict[str, str]:
    """The variables that a password may come from, those included that name a file with it."""
    found = {name: value for name, value in container.environment.items() if value}
    for name in [name for name in found if name.endswith("_FILE")]:
        read = query("exec", container.id, "cat", found.pop(name))
        if read.returncode == 0:
            found[name.removesuffix("_FILE")] = read.stdout.rstrip("\n")
    return found


def _refuse_kept(file: IO[bytes], values: Mapping[str, str]) -> None:
    """A value that the database keeps in some other place than a role would be this bake's for ever."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for variable, value in values.items():
            if content.find(value.encode()) >= 0:
                raise Unbakable(f"the database keeps the value of {variable}, which is another one at every start")


def _send(container: str, data_file: IO[bytes], passwords: Mapping[str, str]) -> None:
    """Put what bake.sh needs into a container that never ran."""
    lines = "".join(f"{variable} {statement}\n" for statement, variable in passwords.items())
    # A file, not a pipe: while the engine waits for the rest of an archive, it removes neither this container nor any
    # image, and the rest would never come after an interrupt.
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            _add(archive, "bake.sh", io.BytesIO(SCRIPT.read_bytes()))
            _add(archive, "passwords", io.BytesIO(lines.encode()))
            _add(archive, "data.tar", data_file)
        packed.seek(0)
        command = ["docker", "cp", "-", f"{container}:/"]
        done = subprocess.run(command, stdin=packed, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise ItestError("engine", f"docker cp: {done.stderr.decode(errors='replace').strip()}", cause="bake")


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    one = tarfile.TarInfo(f"{INSIDE}/{name}")
    one.size, one.mode = content.seek(0, os.SEEK_END), 0o644
    content.seek(0)
    archive.addfile(one, content)
