"""Which scope a request belongs to, from what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from itest.mock import jsonpath, matching
from itest.mock.incoming import NO_JSON, Incoming, values
from itest.mock.stubs import Stub

HEADER = "X-Itest-Scope"
BAGGAGE = "itest.scope"


def said(incoming: Incoming, keyed: Iterable[Stub]) -> str:
    """The scope that a request names, the most deliberate way first; "" where it names none.

    keyed: the stubs that may know a key of the body that holds it.
    """
    return (
        unquote(incoming.credentials)
        or next(iter(incoming.header(HEADER)), "").strip()
        or _baggage(incoming)
        or next(filter(None, (_keyed(stub, incoming) for stub in keyed)), "")
    )


def _baggage(incoming: Incoming) -> str:
    """A member of the header that traces carry along (W3C Baggage)."""
    members = (member.partition(";")[0].partition("=") for member in ",".join(incoming.header("baggage")).split(","))
    return next((unquote(value.strip()) for key, _, value in members if key.strip() == BAGGAGE), "")


def _keyed(stub: Stub, incoming: Incoming) -> str:
    """What stands at the stub's key, if the request goes where the stub answers."""
    if any(one.part in ("method", "host", "path") for one in matching.differences(stub.request, incoming)):
        return ""
    found = _found(stub.scope_key, incoming)
    return str(found[0]) if found and isinstance(found[0], (str, int)) else ""


def _found(key: str, incoming: Incoming) -> Sequence[object]:
    if not key.startswith("$"):
        return values(incoming.form, key)
    return [] if incoming.json is NO_JSON else jsonpath.find(key, incoming.json)
