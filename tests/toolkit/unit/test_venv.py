"""How `.venv` is made, kept and made anew. Each test has a checkout of its own; its lock needs no index."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from itest.machine.venv_build import pip_environment
from itest.stack.eventually import eventually

ROOT = Path(__file__).resolve().parents[3]
PREPARING = "itest: preparing .venv"
WHEEL = "thing-1.0-py3-none-any.whl"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What venv.py needs of the repository, with an empty lock."""
    path = tmp_path / "checkout"
    shutil.copytree(
        ROOT / "scripts" / "itest", path / "scripts" / "itest", ignore=shutil.ignore_patterns("__pycache__")
    )
    (path / "scripts" / "requirements.lock").touch()
    return path


def start(checkout: Path, *argv: str, python: str | Path = sys.executable, **variables: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [str(python), "scripts/itest/machine/venv.py", *argv]
    return subprocess.Popen(command, cwd=checkout, env=os.environ | variables, stdout=pipe, stderr=pipe, text=True)


def run(checkout: Path, *argv: str, python: str | Path = sys.executable, **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = start(checkout, *argv, python=python, **variables)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_first_call_makes_it_and_becomes_the_program(checkout):
    code, out, err = run(checkout, "-c", "import sys; print(sys.prefix, *sys.argv[1:])", "a", "b c")
    assert (code, out) == (0, f"{checkout}/.venv a b c\n")
    assert err.startswith(f"{PREPARING} (first run, about 15 s) …\nitest: prepared .venv in ")


def test_a_second_call_makes_nothing_says_nothing_and_leaves_with_the_programs_exit_code(checkout):
    run(checkout)
    made = (checkout / ".venv" / "itest-stamp").stat().st_mtime_ns
    assert run(checkout, "-c", "raise SystemExit(5)") == (5, "", "")
    assert (checkout / ".venv" / "itest-stamp").stat().st_mtime_ns == made


def test_a_changed_lock_makes_it_anew_even_from_inside_it(checkout):
    run(checkout)
    leftover = checkout / ".venv" / "leftover"
    leftover.touch()
    (checkout / "scripts" / "requirements.lock").write_text("# newer\n")
    inside = checkout / ".venv" / "bin" / "python"
    code, out, err = run(checkout, "-c", "print('here')", python=inside)
    assert (code, out) == (0, "here\n")
    assert err.startswith(f"{PREPARING} (its lock, Python or place changed")
    assert not leftover.exists()
    assert run(checkout, python=inside) == (0, "", "")


def test_a_copied_checkout_makes_its_own_for_the_scripts_in_bin_name_the_old_place(checkout, tmp_path):
    run(checkout)
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy, symlinks=True)
    code, _, err = run(copy)
    assert code == 0
    assert PREPARING in err


def test_an_interrupted_build_is_exit_130_and_done_again(checkout):
    (checkout / "scripts" / "requirements.lock").write_text("./fifo.tar.gz --hash=sha256:" + "0" * 64)
    os.mkfifo(checkout / "fifo.tar.gz")  # pip waits for its content
    process = start(checkout)
    eventually((checkout / ".venv" / "bin" / "python").exists, timeout=20)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.endswith("itest: interrupted\n")
    (checkout / "scripts" / "requirements.lock").write_text("")
    code, _, err = run(checkout)
    assert code == 0
    assert PREPARING in err


def test_a_venv_that_somebody_else_made_is_refused_and_left_alone(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "pyvenv.cfg").write_text("mine")
    code, _, err = run(checkout)
    assert code == 3
    assert "it exists, and itest did not make it\nhint: move it away" in err
    assert (checkout / ".venv" / "pyvenv.cfg").read_text() == "mine"


def test_of_ten_first_runs_at_once_one_makes_it_and_the_others_wait(checkout):
    processes = [start(checkout, "-c", "print('ready')") for _ in range(10)]
    ended = [process.communicate(timeout=60) for process in processes]
    assert [out for out, _ in ended] == ["ready\n"] * 10
    assert sum(PREPARING in err for _, err in ended) == 1
    assert any("another process is preparing .venv; waiting for it …" in err for _, err in ended)


def test_what_pip_cannot_install_is_an_engine_error_with_pips_last_words(checkout):
    (checkout / "scripts" / "requirements.lock").write_text("./missing.whl --hash=sha256:" + "0" * 64)
    code, _, err = run(checkout)
    assert code == 3
    assert "itest: error: .venv: pip cannot install scripts/requirements.lock, exit code 1\n" in err
    assert "missing.whl" in err
    assert "PIP_INDEX_URL" in err
    assert "Traceback" not in err
    assert (checkout / ".venv" / "itest-stamp").read_text() == "unfinished\n"


def test_a_locked_package_is_installed_and_one_with_another_hash_is_not(checkout):
    sha256 = package(checkout)
    (checkout / "scripts" / "requirements.lock").write_text(f"./{WHEEL} --hash=sha256:{sha256}")
    assert run(checkout, "-c", "import thing; print(thing.VALUE)")[:2] == (0, "42\n")

    (checkout / "scripts" / "requirements.lock").write_text(f"./{WHEEL} --hash=sha256:{'0' * 64}")
    code, _, err = run(checkout)
    assert code == 3
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in err


def test_a_pip_configured_for_the_users_own_folder_does_no_harm(checkout):
    assert run(checkout, PIP_USER="1")[0] == 0


def test_the_hosts_certificate_bundle_reaches_pip():
    assert pip_environment({"SSL_CERT_FILE": "/a"})["PIP_CERT"] == "/a"
    assert pip_environment({"REQUESTS_CA_BUNDLE": "/b", "SSL_CERT_FILE": "/a"})["PIP_CERT"] == "/b"
    assert pip_environment({"PIP_CERT": "/own", "SSL_CERT_FILE": "/a"})["PIP_CERT"] == "/own"
    assert "PIP_CERT" not in pip_environment({"HOME": "/"})


def package(folder: Path) -> str:
    """Write the smallest wheel that pip installs (https://packaging.python.org/specifications/binary-distribution-format);
    its SHA-256."""
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("thing.py", "VALUE = 42\n")
        wheel.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        wheel.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("thing-1.0.dist-info/RECORD", "thing.py,,\n")
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()
