"""Settings from the environment (12-factor), read once at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """What the shop needs to know. Lifetimes are in seconds; secrets stay out of the repr."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    signing_key: str = field(repr=False)
    access_token_seconds: int = 300
    refresh_token_seconds: int = 30 * 24 * 3600
    cache_seconds: int = 60

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the SHOP_* variables; SystemExit names those that are missing, as a traceback would help nobody."""
        required = ("SHOP_DATABASE_URL", "SHOP_REDIS_URL", "SHOP_SIGNING_KEY")
        missing = [name for name in required if not environment.get(name)]
        if missing:
            raise SystemExit(f"shop: not set: {', '.join(missing)}")
        return cls(
            database_url=environment["SHOP_DATABASE_URL"],
            redis_url=environment["SHOP_REDIS_URL"],
            signing_key=environment["SHOP_SIGNING_KEY"],
            access_token_seconds=int(environment.get("SHOP_ACCESS_TOKEN_SECONDS", cls.access_token_seconds)),
            refresh_token_seconds=int(environment.get("SHOP_REFRESH_TOKEN_SECONDS", cls.refresh_token_seconds)),
            cache_seconds=int(environment.get("SHOP_CACHE_SECONDS", cls.cache_seconds)),
        )
