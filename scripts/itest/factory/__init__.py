"""Rows that tests make up: required columns, foreign keys and unique values filled in from the live catalogue."""

from itest.factory.factory import Factory, Kept

__all__ = ["Factory", "Kept"]
