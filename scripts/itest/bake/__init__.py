"""Databases that are migrated and seeded once, as images, so that a stack starts with its data in it."""

from itest.bake.bake import Baked, ensure
from itest.bake.registry import Repository
from itest.bake.shelf import prune

__all__ = ["Baked", "Repository", "ensure", "prune"]
