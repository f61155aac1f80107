"""One server of stubs while it is measured, from outside and in the same way whichever it is."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass

from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from itest.compose import Project
from itest.containers import docker

PORT = 8080
START_LIMIT = 60.0  # seconds
ASKED_EVERY = 0.005  # seconds between two attempts to get a first answer
MIB = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
HOST = "stubs"  # what the requests say; no stub asks for it


@dataclass(frozen=True)
class Load:
    """What wrk measured. rate: requests a second; p50, p99: milliseconds; cores: what wrk itself used of a core."""

    rate: float
    p50: float
    p99: float
    cores: float


class Server:
    """One of the services of a project that is created and not started."""

    def __init__(self, project: Project, service: str) -> None:
        self.project, self.service = project, service
        self.id = project.containers()[service].id

    def start(self) -> float:
        """Start it. Returns the seconds until a stub was answered."""
        started = time.monotonic()
        docker("start", self.id)
        self.address = self.project.containers()[self.service].ports[PORT]
        trying = Retrying(
            wait=wait_fixed(ASKED_EVERY),
            stop=stop_after_delay(START_LIMIT),
            retry=retry_if_exception_type((OSError, http.client.HTTPException)) | retry_if_result(lambda ok: not ok),
        )
        trying(self._answers)
        return time.monotonic() - started

    def stop(self) -> None:
        docker("stop", "--time", "5", self.id)

    def memory(self) -> float:
        """MiB: the container's, without the files that the kernel could forget."""
        text = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", self.id).split()[0]
        unit = text[-3:]
        return float(text.removesuffix(unit)) * MIB[unit]

    def put_under_load(self, load: str, clients: int, seconds: int) -> Load:
        """As many requests as it takes. load: the container that wrk is in.

        Raises RuntimeError where one of them was not answered as its stub says: such a rate would mean nothing.
        """
        words = f"--threads 1 --connections {clients} --duration {seconds}s --timeout 10s --script /srv/load.lua"
        timed = f"TIMEFORMAT='%U %S'; time wrk {words} http://{self.service}:{PORT}"
        done = subprocess.run(["docker", "exec", load, "bash", "-c", timed], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        if found["failed"] or not found["requests"]:
            raise RuntimeError(f"{self.service} under load: {found['failed']} of {found['requests']} requests failed")
        used = sum(map(float, done.stderr.splitlines()[-1].split()))
        rate = found["requests"] / found["seconds"]
        return Load(rate, found["p50"] / 1000, found["p99"] / 1000, used / found["seconds"])

    def race(self, clients: int, rounds: int) -> float:
        """Per cent of rounds in which exactly one of all clients, at once, got the scenario's first answer."""
        with ExitStack() as opened:
            sockets = [opened.enter_context(socket.create_connection(self.address, 20)) for _ in range(clients)]
            right = sum(self._round(sockets) == 1 for _ in range(rounds))
        return 100 * right / rounds

    def _round(self, sockets: list[socket.socket]) -> int:
        """How many were first. All but the last byte of each request is there already when the race begins."""
        issued = _ask(sockets[0], "/v1/vouchers/issue")
        if issued != 200:
            raise RuntimeError(f"{self.service}: no voucher was issued, status {issued}")
        request = _request("/v1/vouchers/redeem")
        for one in sockets:
            one.sendall(request[:-1])
        for one in sockets:
            one.sendall(request[-1:])
        return [_status(one) for one in sockets].count(200)

    def _answers(self) -> bool:
        with socket.create_connection(self.address, 5) as one:
            one.sendall(_request("/v1/health", "GET"))
            return _status(one) == 200


def _request(path: str, method: str = "POST") -> bytes:
    length = "Content-Length: 0\r\n" if method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{length}\r\n".encode()


def _ask(one: socket.socket, path: str) -> int:
    one.sendall(_request(path))
    return _status(one)


def _status(one: socket.socket) -> int:
    """The status of an answer that is read to its end. Raises OSError or HTTPException where there is none."""
    answer = http.client.HTTPResponse(one)
    answer.begin()
    answer.read()
    return answer.status
