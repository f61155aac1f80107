"""Addresses of stores: whatever a password or a database is called, clients read from the URI what compose said."""

from __future__ import annotations

import pika
import redis
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from itest.suite.kinds import KINDS, Endpoint, postgres_dsn, rabbitmq_url, redis_dsn

HERE = Endpoint("127.0.0.1", 32768)
ADDRESS = {"host": "127.0.0.1", "port": "32768"}
# What means something in a URI is drawn as often as all the rest.
WORDS = st.text(st.sampled_from("%?/@:#[]&=+ '\\") | st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(user=WORDS, password=WORDS, database=WORDS)
def test_libpq_reads_from_a_dsn_what_the_container_was_given(user, password, database):
    environment = {"POSTGRES_USER": user, "POSTGRES_PASSWORD": password, "POSTGRES_DB": database}
    given = {"user": user, "password": password, "dbname": database}
    assert conninfo_to_dict(postgres_dsn(HERE, environment)) == ADDRESS | given


@given(password=WORDS)
def test_redis_reads_from_a_url_what_the_container_was_given(password):
    with redis.Redis.from_url(redis_dsn(HERE, {"REDIS_PASSWORD": password})) as client:
        arguments = client.connection_pool.connection_kwargs
    assert arguments["password"] == password
    assert (arguments["host"], arguments["port"], arguments["db"]) == ("127.0.0.1", 32768, 0)


def test_redis_without_a_password_has_none_in_its_url():
    assert redis_dsn(HERE, {}) == "redis://127.0.0.1:32768/0"


@given(user=WORDS, password=WORDS, vhost=WORDS)
def test_pika_reads_from_a_url_what_the_container_was_given(user, password, vhost):
    given = {"RABBITMQ_DEFAULT_USER": user, "RABBITMQ_DEFAULT_PASS": password, "RABBITMQ_DEFAULT_VHOST": vhost}
    read = pika.URLParameters(rabbitmq_url(HERE, given))
    assert (read.host, read.port, read.virtual_host) == ("127.0.0.1", 32768, vhost)
    assert (read.credentials.username, read.credentials.password) == (user, password)


def test_rabbitmq_defaults_as_in_the_official_image_and_a_worker_has_its_own_virtual_host():
    assert rabbitmq_url(HERE, {}) == "amqp://guest:guest@127.0.0.1:32768/%2F"
    assert rabbitmq_url(HERE, {}, "itest-1") == "amqp://guest:guest@127.0.0.1:32768/itest-1"


def test_user_and_database_default_as_in_the_official_image():
    assert postgres_dsn(HERE, {}) == "postgresql://postgres@127.0.0.1:32768/postgres"
    assert postgres_dsn(HERE, {"POSTGRES_USER": "me"}) == "postgresql://me@127.0.0.1:32768/me"
    empty = {"POSTGRES_USER": "", "POSTGRES_DB": "", "POSTGRES_PASSWORD": ""}
    assert postgres_dsn(HERE, empty) == "postgresql://postgres@127.0.0.1:32768/postgres"


def test_another_role_has_a_password_of_its_own_and_the_same_database():
    environment = {"POSTGRES_USER": "me", "POSTGRES_PASSWORD": "mine"}
    assert postgres_dsn(HERE, environment, user="shop", password="its") == "postgresql://shop:its@127.0.0.1:32768/me"
    assert postgres_dsn(HERE, environment, user="shop") == "postgresql://shop@127.0.0.1:32768/me"
    assert postgres_dsn(HERE, environment, user="me") == "postgresql://me:mine@127.0.0.1:32768/me"


def test_kinds_without_credentials_have_plain_addresses():
    assert KINDS["http"].address(HERE, {}) == "http://127.0.0.1:32768"
    assert KINDS["tcp"].address(HERE, {}) == "tcp://127.0.0.1:32768"
