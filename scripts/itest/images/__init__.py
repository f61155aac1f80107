"""The images that stacks need: present, pulled from a registry, or built here."""

from itest.images.images import BuildSpec, ImageNeed, ImageReport, describe, ensure, needs_of, pin, table

__all__ = ["BuildSpec", "ImageNeed", "ImageReport", "describe", "ensure", "needs_of", "pin", "table"]
