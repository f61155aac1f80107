"""What a machine says about its distribution and its mirror, in every way that apt lets it be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from itest.machine import distro
from itest.machine.distro import Source


@pytest.fixture
def machine(tmp_path):
    """Write files of a machine: path -> text."""

    def write(files: dict[str, str]) -> Path:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return write


DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n'
DEB822 = """\
Types: deb deb-src
# a comment inside a paragraph
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def test_deb822_sources_are_understood(machine):
    found = distro.read(machine({"etc/os-release": DEBIAN, "etc/apt/sources.list.d/debian.sources": DEB822}))
    assert found == distro.Distro(
        id="debian",
        version="12",
        codename="bookworm",
        mirror="http://mirror.example/debian",
        security="http://mirror.example/debian-security",
        keyring="/usr/share/keyrings/debian-archive-keyring.gpg",
    )
    assert found.sources("trixie")[1] == (
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        "http://mirror.example/debian-security trixie-security main"
    )


def test_one_line_sources_are_understood(machine):
    text = """
    # deb http://old.example/debian bookworm main
    deb-src http://src.example/debian bookworm main
    deb [arch=amd64 trusted=yes] https://mirror.example/debian bookworm main contrib # ours
    deb https://mirror.example/debian-security bookworm-security main
    """
    found = distro.read(machine({"etc/os-release": DEBIAN, "etc/apt/sources.list": text}))
    assert (found.mirror, found.security) == ("https://mirror.example/debian", "https://mirror.example/debian-security")
    assert found.sources("trixie")[0] == "deb [trusted=yes] https://mirror.example/debian trixie main"


def test_a_third_party_that_publishes_under_the_same_suite_is_not_the_mirror(machine):
    third = "deb [signed-by=/usr/share/keyrings/tool.gpg] https://tool.example/deb bookworm main\n"
    files = {
        "etc/os-release": DEBIAN,
        "etc/apt/sources.list.d/a.list": third,
        "etc/apt/sources.list.d/z.sources": DEB822,
    }
    assert distro.read(machine(files)).mirror == "http://mirror.example/debian"


def test_a_disabled_source_and_one_that_no_container_reaches_do_not_count(machine):
    disabled = DEB822.replace("Types: deb deb-src", "Types: deb\nEnabled: no")
    local = "deb file:///srv/debian bookworm main\n"
    files = {"etc/os-release": DEBIAN, "etc/apt/sources.list": local, "etc/apt/sources.list.d/d.sources": disabled}
    assert distro.read(machine(files)).mirror == ""


def test_a_list_of_mirrors_is_followed(machine):
    files = {
        "etc/os-release": "ID=ubuntu\nVERSION_CODENAME=noble\n",
        "etc/apt/sources.list": "deb mirror+file:/etc/apt/mirrors.txt noble main universe\n",
        "etc/apt/mirrors.txt": "http://near.example/ubuntu/\tpriority:1\nhttp://far.example/ubuntu/\tpriority:2\n",
    }
    assert distro.read(machine(files)).mirror == "http://near.example/ubuntu"


def test_a_machine_that_follows_stable_is_understood(machine):
    text = "deb http://mirror.example/debian stable main\n"
    assert distro.read(machine({"etc/os-release": DEBIAN, "etc/apt/sources.list": text})).mirror


def test_a_key_written_into_the_source_is_not_taken_for_a_path(machine):
    text = DEB822.replace("/usr/share/keyrings/debian-archive-keyring.gpg", "\n -----BEGIN PGP-----\n .\n abc")
    [first, _] = distro.apt_sources(machine({"etc/apt/sources.list.d/d.sources": text}))
    assert first == Source(("http://mirror.example/debian",), ("bookworm", "bookworm-updates"), ("main",))


def test_a_machine_without_apt_and_without_os_release_says_nothing(tmp_path):
    assert distro.read(tmp_path) == distro.Distro(id="")
