"""Databases that are migrated and seeded once, as images, so that a stack starts with its data in it."""

from itest.bake.bake import BAKED_FROM, Baked, ensure
from itest.bake.registry import Repository
from itest.bake.shelf import prune

__all__ = ["BAKED_FROM", "Baked", "Repository", "ensure", "prune"]
