"""Stubs against an OpenAPI 3 document: what they answer is what it declares, and what they ask for can be asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from itest.mock.stubs import Stub
from itest.stubcheck import openapi_request, openapi_response, operations
from itest.stubcheck.findings import Finding
from itest.stubcheck.node import Node
from itest.stubcheck.operations import Operation


def findings(document: Node, _host: str, stubs: Sequence[Stub]) -> Iterator[Finding]:
    """What the stubs do that the document doesn't declare. Raises ItestError (usage) for a document of no use."""
    known = operations.read(document)
    for stub in stubs:
        yield from _of_stub(document, known, stub)


def knows(document: Node, stub: Stub) -> bool:
    """Whether a stub's path is one of the document's."""
    return "openapi" in document and bool(operations.meant(operations.read(document), stub.request.path))


def _of_stub(document: Node, known: Sequence[Operation], stub: Stub) -> Iterator[Finding]:
    here = operations.meant(known, stub.request.path)
    if not here:
        yield _no_path(document, known, stub)
        return
    for method in stub.request.methods or ("",):
        candidates = [one for one in here if method in ("", one.method)]
        if not candidates:
            declared = ", ".join(sorted({one.method for one in here}))
            problem = f"{here[0].path} has no {method}, only {declared}"
            yield Finding(stub, ("request", "method"), problem, here[0].item.where)
            continue
        # A stub for several operations (a pattern, no method) has to fit one of them.
        yield from min((list(_of_operation(one, stub)) for one in candidates), key=len)


def _of_operation(operation: Operation, stub: Stub) -> Iterator[Finding]:
    yield from openapi_request.findings(operation, stub)
    if not stub.overlay:
        yield from openapi_response.findings(operation, stub)


def _no_path(document: Node, known: Sequence[Operation], stub: Stub) -> Finding:
    path = str(stub.request.path.what) if stub.request.path else ""
    near = get_close_matches(path, {one.path for one in known}, n=1)
    hint = f"did you mean `{near[0]}`?" if near else ""
    where = (document.get("paths") or document).where
    return Finding(stub, ("request", "path"), f"the contract has no path that fits `{path}`", where, hint)
