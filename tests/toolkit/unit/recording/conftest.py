"""What the tests of recordings share: an exchange, and what becomes of some of them under rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itest.mock.incoming import Incoming
from itest.recording import masking, rules, stubs
from itest.recording.leaves import Answered, Exchange
from itest.recording.ledger import Ledger
from itest.recording.masking import Finding
from itest.recording.stubs import Asked

JSON = (("Content-Type", "application/json"),)


def made(
    number: int,
    target: str,
    answer: Any = None,
    *,
    sends: Any = None,
    method: str = "",
    status: int = 200,
    test: str = "test_a",
    headers: tuple[tuple[str, str], ...] = (),
    says: tuple[tuple[str, str], ...] = JSON,
) -> Exchange:
    """sends: a JSON body, or bytes; answer: likewise."""
    body = sends if isinstance(sends, bytes) else json.dumps(sends).encode() if sends is not None else b""
    said = answer if isinstance(answer, bytes) else json.dumps(answer).encode() if answer is not None else b""
    headers = (*headers, *(JSON if sends is not None and not isinstance(sends, bytes) else ()))
    method = method or ("POST" if body else "GET")
    asked = Incoming.of(method, target, host="pay.example.com", headers=headers, body=body)
    return Exchange(number, test, "pay.example.com", asked, Answered(status, says, said))


@pytest.fixture
def exchange() -> Callable[..., Exchange]:
    """Makes one."""
    return made


@pytest.fixture
def ruled(tmp_path: Path) -> Callable[[str], rules.Rules]:
    """The rules of a file that says this, beside an upstream."""

    def read(text: str = "") -> rules.Rules:
        path = Path("fixtures/paid/record.yaml")
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("upstreams: {pay.example.com: https://sandbox.example.com}\n" + text)
        return rules.read(tmp_path, path)

    return read


@pytest.fixture
def recorded(ruled) -> Callable[..., tuple[list[Asked], list[Finding], str]]:
    """Stubs, findings, and the text of the files that would be written."""

    def record(*exchanges: Exchange, rules: str = "", known: frozenset[str] = frozenset()):
        said, ledger = ruled(rules), Ledger(known)
        taken, refused = masking.take(exchanges, said, ledger)
        asked, confused = stubs.made(taken, said, ledger)
        refused += [*masking.refuse(taken, said, ledger), *confused]
        return asked, refused, "\n".join(stubs.files(asked, said).values())

    return record
