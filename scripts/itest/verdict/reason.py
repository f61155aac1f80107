"""Why pytest did not get as far as a test, in its own words: the exception and its place, from what pytest printed.

Made for tracebacks in pytest's short style, which it uses for whatever cannot be imported, and for INTERNALERROR.
"""

from __future__ import annotations

import re
from pathlib import Path

_INTERNAL = "INTERNALERROR> "
# `tests/api/test_a.py:3: in helper` (pytest) and `  File "tests/api/test_a.py", line 3` (Python, and any SyntaxError).
_PLACE = re.compile(
    r'^(?P<path>[^\s:]+):(?P<line>\d+): in |^(?:E +)?\s*File "(?P<file>[^"]+)", line (?P<number>\d+)', re.M
)
_EXCEPTIONS = re.compile(r"(?:^E .*\n?)+", re.M)  # one block an exception; the last one was not handled
_CONFTEST = re.compile(r"^ImportError while loading conftest '([^']+)'", re.M)
# Of argparse, `python -m pytest: error: …`, the line before is its usage; all else is `ERROR: …`.
_REFUSAL = re.compile(r"^(?:ERROR|[^:\n]*: error): (?!usage: )(.+)$", re.M)


def raised(text: str, root: Path | None = None) -> str:
    """`KeyError: 'URL' (tests/api/conftest.py:3)`: the last exception of a traceback, and the last place in the
    repository that led to it. "" where the text holds no traceback.

    root: the repository's; paths below it lose it.
    """
    text = _relative(text, root)
    if _INTERNAL in text:
        lines = [line.partition(_INTERNAL)[2] for line in text.splitlines() if line.startswith(_INTERNAL)]
        text = "\n".join(lines)
        exceptions = [line for line in lines if re.match(r"[\w.]+(: |$)", line)]
    else:
        exceptions = [_headline(block) for block in _EXCEPTIONS.findall(text)]
    if not exceptions:
        return ""
    places = [(match["path"] or match["file"], match["line"] or match["number"]) for match in _PLACE.finditer(text)]
    own = [place for place in places if _is_own(place[0])]
    return exceptions[-1] + (f" ({':'.join((own or places)[-1])})" if places else "")


def plain(text: str) -> str:
    """The line of a refusal without a traceback, as of a marker that nobody registered; "" where there is none.

    A line that announces what follows, as `import file mismatch:` does, has the next one after it.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    announces = len(lines) > 1 and lines[0].endswith(":")
    return " ".join(lines[: 2 if announces else 1])


def conftest(log: str, root: Path | None = None) -> str:
    """The conftest.py that pytest could not load; "" where it does not complain of one."""
    match = _CONFTEST.search(_relative(log, root))
    return match[1] if match else ""


def refused(log: str, root: Path | None = None) -> str:
    """What pytest said of its arguments; "" where it said nothing of the kind."""
    return next(reversed(_REFUSAL.findall(_relative(log, root))), "")


def _headline(block: str) -> str:
    """The line that names the exception: a SyntaxError shows the source above it, a long message goes on below it."""
    lines = [line[1:] for line in block.splitlines()]
    return next((line.strip() for line in lines if re.match(r" {3}\S", line)), lines[-1].strip())


def _is_own(path: str) -> bool:
    """Whether a file belongs to the repository: pytest shortens paths below it, and .venv is not ours."""
    return not path.startswith(("/", "<", "../", ".venv/"))


def _relative(text: str, root: Path | None) -> str:
    return text.replace(f"{root.as_posix()}/", "") if root else text
