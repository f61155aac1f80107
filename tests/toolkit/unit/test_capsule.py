"""The failure capsule: what of a log is shown, and the command that repeats a failure."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from itest.verdict import capsule
from itest.verdict.capsule import Given, Seen
from itest.verdict.mask import Masker
from itest.verdict.results import StageFailure

FAILURE = StageFailure(
    "service", "oom", "service shop: was killed", "raise it", seen="log: full", chain=("service web: gone",)
)


def kept(folder: Path, **seen) -> tuple[dict, str]:
    capsule.keep(folder, FAILURE, Seen(failed=100.0, again="make itest SUITE=api", **seen), Masker(["s3cret-0f-this"]))
    return json.loads((folder / "failure.json").read_text()), (folder / "failure.txt").read_text()


def test_the_first_lines_say_what_it_is_what_came_of_it_and_what_mends_it(tmp_path):
    facts, text = kept(tmp_path)
    lines = text.splitlines()
    assert lines[:4] == [
        "service/oom: service shop: was killed",
        "then: service web: gone",
        "log: full",
        "hint: raise it",
    ]
    assert lines[-1] == "again: make itest SUITE=api"
    assert (facts["cause"], facts["chain"]) == ("oom", ["service web: gone"])


def test_a_log_is_cut_to_what_stood_in_it_when_the_failure_came(tmp_path):
    lines = [f"1970-01-01T00:0{second // 60}:{second % 60:02d}.000000000Z said {second}" for second in range(20, 300)]
    facts, text = kept(tmp_path, logs={"shop": "\n".join(lines), "quiet": "", "late": lines[-1]})
    assert facts["logs"]["shop"][-1].endswith("said 100")
    assert len(facts["logs"]["shop"]) == capsule.TAIL
    assert facts["logs"]["late"] == [lines[-1]], "rather that than nothing"
    assert "--- quiet printed nothing" in text


def test_secrets_are_masked_in_both(tmp_path):
    facts, text = kept(tmp_path, logs={"shop": "password s3cret-0f-this"})
    assert "s3cret" not in text + json.dumps(facts)


@pytest.mark.parametrize(
    ("given", "profiles", "arguments", "said"),
    [
        (Given(), (), (), "make itest SUITE=api"),
        (Given(), ("compose/profiles/ci.env",), (), "make itest SUITE=api PROFILE=ci"),
        (
            Given({"SHOP_MEMORY": "24m", "OTHER": "1"}, {"TEST_TIMEOUT": "2"}),
            (),
            ("-k", "refund or order"),
            """SHOP_MEMORY=24m make itest SUITE=api TEST_TIMEOUT=2 ARGS='-k '"'"'refund or order'"'"''""",
        ),
    ],
)
def test_the_command_repeats_what_was_asked_for(given, profiles, arguments, said):
    env_files = (Path("compose/suites/api.env"), *map(Path, profiles))
    suite = SimpleNamespace(name="api", env_files=env_files, variables={"SHOP_MEMORY"})
    assert given.command(suite, arguments) == said
