"""What is in the stores: migrations, fixtures, and the baseline that every test returns to."""

from itest.data.data import Plan, plan, prepare, reseed

__all__ = ["Plan", "plan", "prepare", "reseed"]
