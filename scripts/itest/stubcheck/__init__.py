"""Stubs against what third parties promise: OpenAPI documents and pacts in `contracts/` of a folder of stubs."""

from itest.stubcheck.stubcheck import FOLDER, check

__all__ = ["FOLDER", "check"]
