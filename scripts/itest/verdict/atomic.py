"""Write a file whole or not at all: a reader never sees half of it, and a failed write leaves the old one."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Put content (text as UTF-8) at path, creating its folder. Raises OSError, with nothing left behind."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same folder, because os.replace cannot cross file systems; pid and thread, because suites run side by side.
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
