"""A clean state for every test: which strategy, which stores, and whose fault it is when one stays dirty."""

from itest.isolation.database import Database
from itest.isolation.isolation import Isolation
from itest.isolation.resettable import Resettable

__all__ = ["Database", "Isolation", "Resettable"]
