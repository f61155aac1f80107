"""What is said to a sidecar: JSON, a line a request and a line an answer, through `docker exec`.

The end of this process, however it comes, ends the conversation, and with it all that was added in it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from typing import Any

from itest.errors import ItestError

COMMAND = ("python", "-m", "itest.toxics.session")
ANSWERS_WITHIN = 20.0  # seconds; the first answer comes when the sidecar has started


class Session:
    """A conversation with a client's sidecar. container: the sidecar's id; client: the service that it is for."""

    def __init__(self, container: str, client: str) -> None:
        self.container = container
        self._client = client
        self._lock = Lock()  # a timeline asks from a thread of its own
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", container, *COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the tests: it would end this before they have healed anything
        )

    @property
    def is_open(self) -> bool:
        return self._process.poll() is None

    @cached_property
    def can(self) -> Mapping[str, Any]:
        """What can be done here: kind of fault -> "", or why it can't."""
        found: Mapping[str, Any] = self.ask(op="can")
        return found

    def add(
        self, kind: str, to: Mapping[str, Any], with_: Mapping[str, Any], *, keep: bool = False
    ) -> Mapping[str, str]:
        """Begin a fault. to: name and addresses of the server. keep: it outlives the conversation.

        Returns its `id`, and what was done `instead` where this machine can't do just that.
        """
        begun: Mapping[str, str] = self.ask(op="add", kind=kind, to=to, keep=keep, **{"with": with_})
        return begun

    def remove(self, fault: str) -> bool:
        """End a fault. Returns False where there was no connection that it could have acted on."""
        return bool(self.ask(op="remove", id=fault)["met"])

    def ask(self, **request: Any) -> Any:
        """The sidecar's answer. Raises ItestError: usage where it refuses, service where it doesn't answer."""
        with self._lock:
            try:
                answer = json.loads(self._asked(json.dumps(request).encode()))
            except (OSError, ValueError) as error:
                raise self._silent(str(error)) from error
        if "error" in answer:
            raise ItestError("usage", f"faults of {self._client}: {answer['error']}", cause="fault")
        return answer["ok"]

    def close(self) -> None:
        """End the conversation, and all that was added in it."""
        try:
            self._process.communicate(timeout=ANSWERS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _asked(self, line: bytes) -> bytes:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + b"\n")
        answer, until = b"", time.monotonic() + ANSWERS_WITHIN
        while not answer.endswith(b"\n"):
            if not select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"no answer within {ANSWERS_WITHIN:g} s")
            some = os.read(self._process.stdout.fileno(), 65536)
            if not some:
                raise EOFError
            answer += some
        return answer

    def _silent(self, problem: str) -> ItestError:
        """Why there is no answer. It is the last question: the answer to it might come to the next."""
        assert self._process.stderr
        self._process.kill()
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        words = f"faults of {self._client}: its sidecar does not answer: {said[-1] if said else problem or 'it ended'}"
        hint = f"docker logs {self.container[:12]}"
        return ItestError("service", words, hint=hint, evidence="\n".join(said[:-1]), cause="fault")
