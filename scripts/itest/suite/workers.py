"""What workers side by side may share, checked before anything starts: a store, never what writes to one.

Of a store each has a place of its own (a database, a logical database, a virtual host), which the services under
`per_worker` learn by variables such as `${POSTGRES_DB:-app}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from itest.errors import ItestError
from itest.suite.kinds import KINDS
from itest.suite.resolved import Config, fixed_ports
from itest.suite.schema import wrong_in
from itest.suite.suite import Suite
from itest.suite.yamlfile import Keys

MARK = "itest_place_of_{}"  # a value that no configuration has by itself


def apart(suite: Suite) -> bool:
    """Whether workers have places of their own: not where tests need no clean state, unless services are told apart."""
    return suite.isolation != "none" or bool(suite.per_worker)


def sharing(suite: Suite) -> list[str]:
    """Services that all workers share and that hold no data of their own: whose requests they are, nobody can tell.

    A one-shot is none of them, as it is over before the tests begin.
    """
    apart_or_store = (*suite.stores, *suite.per_worker)
    return [name for name, one in suite.services.items() if name not in apart_or_store and not one.ends]


def silent(suite: Suite) -> list[str]:
    """Of those the ones that don't pass on, by the header `baggage`, whose request they work at."""
    return [name for name in sharing(suite) if not suite.services[name].baggage]


def scoped(suite: Suite) -> bool:
    """Whether a mock can tell whose a request is: whoever sends any is one worker's alone, or says it."""
    return apart(suite) and not silent(suite)


def variable(suite: Suite, service: str) -> str:
    """The variable by which layers name a worker's place in a store, such as POSTGRES_DB."""
    return f"{service.upper().replace('-', '_')}_{KINDS[suite.services[service].kind].place}"


def variables(suite: Suite, places: Mapping[str, str]) -> dict[str, str]:
    """What tells the services of a worker where its places are. places: service -> name."""
    return {variable(suite, service): place for service, place in places.items()}


def check(suite: Suite) -> None:
    """Refuse what workers would silently share. Raises ItestError (usage) with the edit that mends it."""
    if not apart(suite):
        return
    # Of a mock all can share the one scope: those tests that use it take turns then.
    stores = [one.name for one in suite.services.values() if one.stores and one.kind != "mock"]
    others = sharing(suite) + _filling(suite, stores)
    if stores and others:
        verb = "holds no data of its own but shares" if len(others) == 1 else "hold no data of their own but share"
        problem = f"suite {suite.name}: {', '.join(others)} {verb} {', '.join(stores)} with every worker"
        wanted = ", ".join([*suite.per_worker, *others])
        hint = f"x-itest: per_worker: [{wanted}] in {suite.files[-1].path}"
        raise ItestError("usage", problem, hint=hint, cause="workers")
    if suite.per_worker:
        marks = {store: MARK.format(store) for store in stores if store not in suite.per_worker}
        # Without the profile: the ports that it fixes are the first worker's, see asstarted.free_ports.
        plain = replace(suite.project(suite.kept_name), env_files=(suite.root / suite.env_files[0],))
        config = replace(plain, variables=variables(suite, marks)).config()
        _refuse_fixed_ports(suite, config)
        _refuse_deaf(suite, config, marks)


def _filling(suite: Suite, stores: Iterable[str]) -> list[str]:
    """One-shots that all workers share and that work on a store, of which they know one place alone."""
    shots = [
        name for name, one in suite.services.items() if one.ends and name not in (*suite.stores, *suite.per_worker)
    ]
    services = suite.config["services"] if shots else {}
    return [name for name in shots if any(_uses(suite, name, store, services[name]) for store in stores)]


def _refuse_fixed_ports(suite: Suite, config: Config) -> None:
    for name, _, (port, _protocol) in fixed_ports(config):
        if name in suite.per_worker:
            problem = f"`{name}` publishes port {port}, which one worker's alone could have"
            hint = f"leave the host's port to docker: 127.0.0.1:${{{name.upper().replace('-', '_')}_PORT:-}}:…"
            raise wrong_in(suite.files, ("services", name, "ports"), problem, hint)


def _refuse_deaf(suite: Suite, config: Config, marks: Mapping[str, str]) -> None:
    """A service that doesn't read the variable of a store it uses would use the first worker's place."""
    for name in suite.per_worker:
        service = config["services"][name]
        told = json.dumps(service)
        for store, mark in marks.items():
            if mark not in told and _uses(suite, name, store, service):
                default = "/" if KINDS[suite.services[store].kind].place == "VHOST" else "…"
                problem = f"`{name}` doesn't read {variable(suite, store)}, so all workers' would share one in {store}"
                hint = f"write ${{{variable(suite, store)}:-{default}}} where it is told its place in {store}"
                raise wrong_in(suite.files, _place(suite, name), problem, hint)


def _uses(suite: Suite, name: str, store: str, service: Config) -> bool:
    """Whether a service is told of a store, or waits for it."""
    told = json.dumps([service.get("environment"), service.get("command"), service.get("entrypoint")])
    return store in suite.services[name].depends_on or bool(re.search(rf"\b{re.escape(store)}\b", told))


def _place(suite: Suite, name: str) -> Keys:
    """Where a service is told of others: its environment, or where it would stand."""
    keys = ("services", name, "environment")
    return keys if any(keys in file.lines for file in suite.files) else ("services", name, "image")
