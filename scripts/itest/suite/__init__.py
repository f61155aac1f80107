"""What the compose files and their x-itest say, read and checked before anything starts."""

from itest.suite.suite import PROFILES, SUITES, Service, Suite, check, load, names

__all__ = ["PROFILES", "SUITES", "Service", "Suite", "check", "load", "names"]
