"""Volumes that a worker's own services have in common with the stack's: what is in one, both see."""

from __future__ import annotations

LAYER = """
services:
  writer: &writer
    extends: {file: defaults.yaml, service: defaults}
    x-itest: {kind: tcp, port: 6379}
    image: redis:8.0.2
    user: "0:0"
    tmpfs: [/data]
    ports: ["127.0.0.1::6379"]
    volumes: [words:/words]
    entrypoint: [sh, -c, "echo of the stack > /words/word; exec redis-server"]
  reader:
    <<: *writer
    volumes: ["words:/words:ro"]
    entrypoint: [redis-server]
    depends_on: [writer]
volumes:
  words:
"""
READ = """
import subprocess
import pytest

@pytest.mark.parametrize("n", range(6))
def test_it(stack, n):
    words = ["docker", "exec", stack.containers["reader"].id, "cat", "/words/word"]
    assert subprocess.run(words, capture_output=True, text=True).stdout == "of the stack\\n"
"""


def test_a_worker_s_service_finds_in_a_shared_volume_what_the_stack_s_put_there(shared_checkout):
    """Sealed, a worker's door starts before all else of its own, and no volume may be made empty with it."""
    shared_checkout.suite("volumes", LAYER, "{isolation: none, per_worker: [reader]}", READ)
    profile = "compose/profiles/sealed.yaml"
    shared_checkout.replace(profile, "6379=redis:6379", "6379=writer:6379\n        20000=reader:6379")
    shared_checkout.replace(profile, "- 127.0.0.1::6379", "- 127.0.0.1::6379\n      - 127.0.0.1::20000")

    ended = shared_checkout.run("run", ITEST_SUITE="volumes", ITEST_PROFILE="sealed", ITEST_ARGS="-n 2")

    assert ended.code == 0, ended.output
    assert "6 passed" in ended.output
    assert shared_checkout.leftovers()["containers"] == []
