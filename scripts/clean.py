"""Remove this checkout's kept stacks, its results and caches, saying what goes. `make clean`; images and .venv stay."""

import shutil

from itest import cli, stack, suite
from itest.errors import run_verb

CACHES = ("build", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")


def main() -> None:
    cli.parse(__doc__)
    for one in (suite.load(cli.ROOT, name) for name in suite.names(cli.ROOT)):
        for project in stack.kept(one):
            print(f"removing stack {project}")
            stack.attach(one, project).down()
    for folder in (cli.ROOT / name for name in CACHES):
        if folder.exists():
            print(f"removing {folder.name}/")
            shutil.rmtree(folder)


if __name__ == "__main__":
    run_verb(main)
