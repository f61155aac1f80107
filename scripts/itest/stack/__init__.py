"""The life of one stack: compose project, readiness, the handle that tests get, the clean state between them."""

from itest.stack.life import Line, StageOpener, quiet, settle, start
from itest.stack.running import attach, kept
from itest.stack.stack import Stack

__all__ = ["Line", "Stack", "StageOpener", "attach", "kept", "quiet", "settle", "start"]
