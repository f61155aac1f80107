"""`make record`: a suite's tests against the real services, written as stubs; with --check, what changed since."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from itest.errors import ItestError
from itest.mock import stubfile
from itest.recording import drift, masking, session, stubs, vary
from itest.recording.ledger import Ledger
from itest.recording.masking import Finding
from itest.recording.rules import Rules
from itest.recording.session import Session
from itest.recording.stubs import Asked
from itest.suite.suite import Suite
from itest.verdict import atomic, known
from itest.verdict.mask import is_distinct

CHECK = "--check"
LISTED = 40  # lines of pytest's output that a person sees of red tests


def record(suite: Suite, rules: Rules, note: Callable[[str], None]) -> list[str]:
    """Write what the real services answer to the suite's tests. Returns what was done, in lines.

    Raises ItestError: test where tests fail or a service is not reached, data where something could be a secret;
    nothing is written then.
    """
    held, ledger = session.hold(suite, rules, note), _ledger(suite)
    taken, refused = masking.take(held.exchanges, rules, ledger)
    _refuse_red(suite, held, ledger)
    asked, confused = stubs.made(taken, rules, ledger)
    refused += [*masking.refuse(taken, rules, ledger), *confused]
    if refused:
        raise _refusal(rules, refused)
    vary.keep(asked, stubfile.read_folder(suite.root, rules.folder), taken, rules)
    texts = stubs.files(asked, rules)
    for path, text in texts.items():
        if ledger.left_in(text):  # what every single value was looked at for: a bug, and even so nothing is written
            raise ItestError("data", f"{path}: a masked value would stand in it", cause="record")
    for line in [*stubs.notes(asked, taken, rules), *vary.idle(taken, rules)]:
        note(ledger.shown(line))
    return _written(suite.root, rules, texts, asked)


def check(suite: Suite, rules: Rules, note: Callable[[str], None]) -> list[str]:
    """What the real services do otherwise than is recorded, a line each. Raises ItestError as `record` does."""
    recorded = stubfile.read_folder(suite.root, rules.folder)
    if not recorded:
        problem = f"suite {suite.name}: nothing is recorded in {rules.folder}"
        raise ItestError("usage", problem, hint=f"make record SUITE={suite.name}", cause="record")
    held, ledger = session.hold(suite, rules, note), _ledger(suite)
    taken, _ = masking.take(held.exchanges, rules, ledger)
    if unreached := session.problems(held.exchanges):
        raise _unreached(suite, unreached)
    asked, _ = stubs.made(taken, rules, ledger)
    found = [ledger.shown(str(one)) for one in drift.compare(recorded, asked, rules)]
    if not found:  # or it says why tests are red
        _refuse_red(suite, held, ledger)
    return found


def _ledger(suite: Suite) -> Ledger:
    """With what is known to be secret before anything is recorded: of the shell, and of the compose files."""
    found = known.in_variables(os.environ) | known.in_config(suite.config, suite.root)
    return Ledger(frozenset(filter(is_distinct, found)))


def _refuse_red(suite: Suite, held: Session, ledger: Ledger) -> None:
    if unreached := session.problems(held.exchanges):
        raise _unreached(suite, unreached)
    if not held.green:
        tail = "\n".join(ledger.shown(held.output).splitlines()[-LISTED:])
        problem = f"suite {suite.name}: its tests fail against the real service, so nothing is written"
        raise ItestError("test", problem, hint="mend them, or skip what only a stub can do", evidence=tail)
    if not held.exchanges:
        problem = f"suite {suite.name}: no request went to an upstream: stubs answered all, or there was none"
        hint = "`every: true` on an upstream in record.yaml passes on what stubs answer, too"
        raise ItestError("usage", problem, hint=hint, cause="record")


def _unreached(suite: Suite, problems: Sequence[str]) -> ItestError:
    problem = f"suite {suite.name}: a real service gave no answer, so nothing is written"
    hint = "correct `upstreams:` in record.yaml; `ca:` names who vouches for a service of your own"
    return ItestError("test", problem, hint=hint, evidence="\n".join(problems), cause="unreachable")


def _refusal(rules: Rules, refused: Sequence[Finding]) -> ItestError:
    """What the rules don't cover: where, of which kind, and the lines that would; never a value."""
    lines = [*map(str, refused), "", f"in {rules.where}, what is secret or somebody's; or the same under `keep:`:"]
    lines += dict.fromkeys(f"  {one.rule}" for one in refused if one.rule)
    count = f"{len(refused)} values that the rules don't cover" if len(refused) > 1 else "a value without a rule"
    problem = f"{rules.where}: {count}, so nothing is written"
    return ItestError("data", problem, hint="fixtures/README.md, Record", evidence="\n".join(lines), cause="record")


def _written(root: Path, rules: Rules, texts: dict[Path, str], asked: Sequence[Asked]) -> list[str]:
    """Write all files; those of hosts that nobody asks any more go."""
    (root / rules.folder).mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        atomic.write(root / path, text)
    stale = [path for path in sorted((root / rules.folder).glob("*.yaml")) if path.relative_to(root) not in texts]
    for path in stale:
        path.unlink()
    lines = [
        f"{path}: {sum(one.wanted.data['host'] == host for one in asked)} stubs" for path, host in _hosts(rules, asked)
    ]
    return lines + [f"{path.relative_to(root)}: removed, as nobody asks it any more" for path in stale]


def _hosts(rules: Rules, asked: Sequence[Asked]) -> list[tuple[Path, str]]:
    hosts = dict.fromkeys(one.wanted.data["host"] for one in asked)
    return sorted((stubs.file_of(host, rules), host) for host in hosts)
