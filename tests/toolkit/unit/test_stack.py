"""What a stack's handle answers to a test, without an engine: the container is given."""

from __future__ import annotations

import pytest

from itest.containers import Container
from itest.errors import ItestError
from itest.stack.stack import Stack


@pytest.fixture
def dsn(repo):
    """stack.dsn("store", …) of a PostgreSQL with these variables."""

    def of(environment: dict[str, str], **who: str) -> str:
        suite = repo.load()
        ports = {5432: ("127.0.0.1", 32768)}
        store = Container("c0ffee", "p", "store", "postgres", environment, ports, {"Status": "running"}, 0)
        return Stack(suite, suite.project("p"), containers={"store": store}).dsn("store", **who)

    return of


def test_another_user_without_a_password_is_refused_and_told_where_it_may_be(dsn) -> None:
    with pytest.raises(ItestError) as caught:
        dsn({"POSTGRES_PASSWORD": "s3cr3t", "APP_DB_PASSWORD": "its"}, user="app")

    assert str(caught.value) == (
        "itest: error: stack.dsn('store', user='app'): no password for app\n"
        "hint: stack.dsn('store', user='app', password=stack.env('store')['APP_DB_PASSWORD'])"
    )
    assert caught.value.category == "usage"


def test_where_no_variable_is_named_after_the_user_the_password_is_for_the_test_to_say(dsn) -> None:
    with pytest.raises(ItestError) as caught:
        dsn({"POSTGRES_PASSWORD": "s3cr3t"}, user="app")

    assert caught.value.hint == "stack.dsn('store', user='app', password=…)"


@pytest.mark.parametrize(
    ("environment", "who", "expected"),
    [
        ({"POSTGRES_PASSWORD": "s"}, {}, "postgres:s@"),
        ({"POSTGRES_PASSWORD": "s", "POSTGRES_USER": "me"}, {"user": "me"}, "me:s@"),
        ({"POSTGRES_PASSWORD": "s"}, {"user": "app", "password": "p"}, "app:p@"),
        ({"POSTGRES_HOST_AUTH_METHOD": "trust"}, {"user": "app"}, "app@"),
    ],
)
def test_the_superuser_s_password_is_known_and_a_server_that_trusts_needs_none(dsn, environment, who, expected) -> None:
    assert dsn(environment, **who).startswith(f"postgresql://{expected}127.0.0.1:32768/")
