"""Alive and ready, as the orchestrator and the toolkit's own probe ask for it."""

from __future__ import annotations


def test_it_is_alive(http):
    assert http.get("/health/live").json() == {"status": "ok"}


def test_it_is_ready_when_everything_it_depends_on_is(http):
    response = http.get("/health/ready")

    assert response.status_code == 200
    assert response.json() == {"status": "ok", "checks": {"postgres": "ok", "schema": "ok", "redis": "ok"}}


def test_without_a_table_it_is_alive_and_not_ready_and_says_which(http, db):
    db.execute("ALTER TABLE order_lines RENAME TO order_lines_away")
    try:
        alive, ready = http.get("/health/live"), http.get("/health/ready")
    finally:
        db.execute("ALTER TABLE order_lines_away RENAME TO order_lines")

    assert alive.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["checks"]["schema"] == 'relation "order_lines" does not exist'


def test_it_goes_on_when_its_connections_are_cut(http, db, redis_client):
    assert http.get("/items/1").status_code == 200

    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    redis_client.client_kill_filter(_type="normal", skipme=True)

    assert http.get("/items/1").headers["X-Cache"] == "hit"
    assert http.get("/items/2").headers["X-Cache"] == "miss"
