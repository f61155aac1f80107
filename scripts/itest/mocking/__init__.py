"""The mock server from a test's side: what it is to answer, what came to it, and in which words that fails a test."""

from itest.mocking.call import Call
from itest.mocking.mock import Mock
from itest.mocking.received import Received

__all__ = ["Call", "Mock", "Received"]
