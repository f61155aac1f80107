"""Remove this checkout's kept stacks, bakes, results and caches, saying what goes. `make clean`; the rest stays."""

import shutil

from itest import bake, cli, runs, stack, suite
from itest.errors import ItestError, run_verb
from itest.stack.sweep import sweep

CACHES = ("build", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")


def main() -> None:
    cli.parse(__doc__)
    if alive := runs.owners(cli.ROOT):
        problem = f"a run of this checkout is going on: {', '.join(alive)}"
        raise ItestError("usage", problem, hint="wait for it, or stop it with Ctrl-C", cause="alive")
    sweep(cli.ROOT, print)
    for one in (suite.load(cli.ROOT, name) for name in suite.names(cli.ROOT)):
        for project in stack.kept(one):
            print(f"removing stack {project}")
            stack.attach(one, project).down()
    bake.prune(cli.ROOT, print, every=True)
    for folder in (cli.ROOT / name for name in CACHES):
        if folder.exists():
            print(f"removing {folder.name}/")
            shutil.rmtree(folder)


if __name__ == "__main__":
    run_verb(main)
