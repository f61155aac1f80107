"""RabbitMQ's management API, which knows what a virtual host holds, and makes one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote, urlsplit

from itest.errors import ItestError
from itest.stack.probes import innermost
from itest.stack.stack import UNPUBLISHED, Stack

PORT = 15672  # of the management plugin
TIMEOUT = 5.0  # seconds that an answer may take


class Management:
    """The management API, as the user and for the virtual host that a stack's address of the service names.

    https://www.rabbitmq.com/docs/http-api-reference
    """

    def __init__(self, stack: Stack, service: str) -> None:
        """Raises ItestError (usage) where the port of the management plugin is not published."""
        import requests

        address = urlsplit(stack.dsn(service))
        self.service = service
        self.vhost = unquote(address.path[1:])
        try:
            self._url = "http://{}:{}/api/".format(*stack.endpoint(service, PORT))
        except ItestError as error:
            if error.cause != UNPUBLISHED:
                raise
            hint = (
                "only the management API knows all queues: it takes an image with that plugin, and its port published"
            )
            raise ItestError("usage", error.message, hint=hint, cause="config") from error
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment must not come between us and loopback
        self._session.auth = (unquote(address.username or ""), unquote(address.password or ""))

    def call(self, method: str, *path: str, json: Any = None, missing: bool = False) -> Any:
        """One request. path: not quoted yet. missing: what is not there is as good. Returns the JSON of the answer.

        Raises ItestError (service).
        """
        import requests

        where = "/".join(quote(part, safe="") for part in path)
        try:
            answer = self._session.request(method, self._url + where, json=json, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise self._error(method, where, str(innermost(error))) from error
        if missing and answer.status_code == 404:
            return None
        if not answer.ok:
            raise self._error(method, where, f"{answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def _error(self, method: str, where: str, said: str) -> ItestError:
        return ItestError("service", f"service {self.service}: {method} /api/{where}: {said[:300]}", cause="management")


def make_vhost(stack: Stack, service: str, vhost: str) -> None:
    """A new virtual host, in place of one of that name; who may do what is as in the stack's own.

    Raises ItestError (service).
    """
    management = Management(stack, service)
    management.call("DELETE", "vhosts", vhost, missing=True)
    management.call("PUT", "vhosts", vhost)
    for one in management.call("GET", "vhosts", management.vhost, "permissions"):
        rights = {right: one[right] for right in ("configure", "write", "read")}
        management.call("PUT", "permissions", vhost, one["user"], json=rights)
    management.close()


def drop_vhost(stack: Stack, service: str, vhost: str) -> None:
    """Remove a virtual host and end its connections. Raises ItestError (service)."""
    management = Management(stack, service)
    management.call("DELETE", "vhosts", vhost, missing=True)
    management.close()
