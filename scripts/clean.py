"""Remove this checkout's kept stacks, bakes, results and caches; all of it is listed first. `make clean`"""

import shutil

from itest import bake, cli, runs
from itest.bake import shelf
from itest.errors import ItestError, run_verb
from itest.images import store
from itest.stack import keeping
from itest.stack.sweep import sweep

CACHES = ("build", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")


def main() -> None:
    given = cli.parse(__doc__)
    if alive := runs.owners(cli.ROOT):
        problem = f"a run of this checkout is going on: {', '.join(alive)}"
        raise ItestError("usage", problem, hint="wait for it, or stop it with Ctrl-C", cause="alive")
    sweep(cli.ROOT, print)
    stacks = cli.kept_stacks(given)
    baked = [one for one in shelf.everything() if one.checkout == shelf.checkout_of(cli.ROOT)]
    superseded = store.superseded()
    folders = [cli.ROOT / name for name in CACHES if (cli.ROOT / name).exists()]
    told = [f"stack {one.name}: {keeping.contents(one)}" for one in stacks]
    told += [f"{one.reference}, {one.size / 1e6:.0f} MB" for one in baked]
    told += [f"{one}, unless a container uses it" for one in superseded]
    print("\n".join(f"removing {one}" for one in [*told, *(f"{folder.name}/" for folder in folders)]), flush=True)
    for one in stacks:
        keeping.remove(one)
    bake.prune(cli.ROOT, lambda _: None, every=True)
    store.remove_superseded()
    for folder in folders:
        shutil.rmtree(folder)


if __name__ == "__main__":
    run_verb(main)
