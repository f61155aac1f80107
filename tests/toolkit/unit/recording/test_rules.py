"""record.yaml: every mistake is told with file and line, and nothing leaves that isn't named."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from itest.errors import ItestError
from itest.recording import rules
from itest.recording.rules import Named

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("maks: {}", "record.yaml:2: unknown key `maks`"),
        ("mask: {jsn: [$.a]}", "record.yaml:2: unknown key `jsn` in `mask`"),
        ("keep: {json: [a.b]}", "record.yaml:2: `a.b`: `a.b` must begin with `$`"),
        ("mask: {path: [/customers/17]}", "record.yaml:2: `/customers/17` is no path with a {name}"),
        ("mask: {body: ['(']}", "record.yaml:2: `(`"),
        ("answers: {x: 1}", "record.yaml:2: `answers` must be a string or a list"),
    ],
)
def test_a_mistake_is_told_with_its_line(ruled, text, problem) -> None:
    with pytest.raises(ItestError) as told:
        ruled(text)
    assert problem in told.value.message


def test_the_example_of_the_documentation_is_read(tmp_path) -> None:
    text = (ROOT / "fixtures/README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^    upstreams:.*?(?=^\n\S)", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "fixtures/external").mkdir(parents=True)
    (tmp_path / "fixtures/external/mail-ca.pem").touch()
    (tmp_path / "record.yaml").write_text(textwrap.dedent(example), encoding="utf-8")
    said = rules.read(tmp_path, Path("record.yaml"))
    assert said.upstreams[1] == Named(
        "mock:8080/mails", "https://mail.example.com/v3", True, "fixtures/external/mail-ca.pem"
    )
    assert said.of("mask", "path") == ("/customers/{who}/cards",)
