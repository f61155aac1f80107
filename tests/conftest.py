"""Gives every test the fixtures of scripts/itest/plugin.py: stack, db, redis_client, http, eventually."""

pytest_plugins = ["itest.plugin"]
