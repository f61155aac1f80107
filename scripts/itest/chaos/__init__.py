"""Chaos: faults by a seeded schedule while a suite's tests run, and a steady state that has to come back after each."""

from itest.chaos.seeds import check, seeded
from itest.chaos.storm import Storm

__all__ = ["Storm", "check", "seeded"]
