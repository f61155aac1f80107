"""Settings from the environment (12-factor), read once at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Patience:
    """How long the shop waits for a third party, how often it asks, and when it gives up on it for a while."""

    connect_timeout_ms: int = 1_000
    answer_timeout_ms: int = 5_000  # of one attempt, to the last byte
    retry_attempts: int = 4
    retry_backoff_ms: int = 200  # before the second attempt; twice as long before each further one
    retry_after_max_ms: int = 5_000  # a third party that wants to be left alone for longer isn't waited for
    breaker_failures: int = 5  # in succession
    breaker_ms: int = 10_000

    @property
    def most_seconds(self) -> float:
        """A call with all its attempts takes no longer."""
        attempt = self.connect_timeout_ms + self.answer_timeout_ms
        pause = max(self.retry_backoff_ms * 2**self.retry_attempts, self.retry_after_max_ms)
        return self.retry_attempts * (attempt + pause) / 1000


@dataclass(frozen=True)
class Limits:
    """How long the shop waits for its own stores."""

    database_wait_ms: int = 2_000  # for a connection; to find out whether it lives, half as long
    database_answer_ms: int = 5_000  # to one statement
    database_lock_ms: int = 2_000  # of somebody else's transaction
    database_idle_ms: int = 5_000  # a transaction with which nobody goes on
    redis_answer_ms: int = 500
    redis_rest_ms: int = 1_000  # one that didn't answer isn't asked again


@dataclass(frozen=True)
class Settings:
    """What the shop needs to know. Lifetimes are in seconds; secrets stay out of the repr."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    signing_key: str = field(repr=False)
    payments_url: str
    payments_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    mail_url: str
    mail_key: str = field(repr=False)
    access_token_seconds: int = 300
    refresh_token_seconds: int = 30 * 24 * 3600
    cache_seconds: int = 60
    webhook_tolerance_seconds: int = 300
    patience: Patience = field(default_factory=Patience)
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the SHOP_* variables; SystemExit names those that are missing, as a traceback would help nobody."""
        texts = [one.name for one in fields(cls) if one.type == "str"]
        if missing := [_variable(name) for name in texts if not environment.get(_variable(name))]:
            raise SystemExit(f"shop: not set: {', '.join(missing)}")
        given = {name: environment[_variable(name)] for name in texts}
        patience, limits = (group(**_numbers(group, environment)) for group in (Patience, Limits))
        return cls(**given, **_numbers(cls, environment), patience=patience, limits=limits)


def _numbers(of: type, environment: Mapping[str, str]) -> dict[str, int]:
    """The fields that hold numbers, where the environment says any."""
    names = (one.name for one in fields(of) if one.type == "int")
    return {name: int(environment[_variable(name)]) for name in names if environment.get(_variable(name))}


def _variable(name: str) -> str:
    return f"SHOP_{name.upper()}"
