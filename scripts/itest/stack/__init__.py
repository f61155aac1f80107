"""The life of one stack: compose project, readiness, the handle that tests get, the clean state between them."""

from itest.stack.running import attach, kept
from itest.stack.stack import Line, Stack, StageOpener, quiet, settle, start

__all__ = ["Line", "Stack", "StageOpener", "attach", "kept", "quiet", "settle", "start"]
