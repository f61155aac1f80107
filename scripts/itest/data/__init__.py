"""What is in the stores: migrations, fixtures, and the baseline that every test returns to."""

from itest.data.data import UNEVENTFUL, Plan, plan, prepare, reseed

__all__ = ["UNEVENTFUL", "Plan", "plan", "prepare", "reseed"]
