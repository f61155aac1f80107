"""Which variable each role's password came from: told by PostgreSQL's own verification, so that no init script has to
be understood."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from itest.bake.inputs import Unbakable


@dataclass(frozen=True)
class Role:
    """A role that has a password. verifier: what the server keeps of it, `pg_authid.rolpassword`."""

    name: str
    verifier: str


def variables_of(roles: Iterable[Role], values: Mapping[str, str]) -> dict[str, str]:
    """Role -> the variable that holds its password. values: variable -> value, as the container had them.

    Raises Unbakable for a role whose password is in no variable, or in several: a later start would not know which.
    """
    found: dict[str, str] = {}
    for role in roles:
        names = [name for name, value in values.items() if verifies(role, value)]
        if not names:
            problem = f"the password of role {role.name} is in no variable; read it from one that ends in _PASSWORD"
            raise Unbakable(f"{problem}, as compose/init/postgres does")
        if len(names) > 1:
            raise Unbakable(f"the password of role {role.name} may come from {' or '.join(names)}: make them differ")
        found[role.name] = names[0]
    return found


def verifies(role: Role, password: str) -> bool:
    """Whether a password is the role's, by SCRAM-SHA-256 or by MD5.

    RFC 5803 has the notation, RFC 5802 section 3 and RFC 7677 the sums. Passwords are taken as they are: SASLprep
    (RFC 4013) leaves printable ASCII alone.
    """
    if role.verifier.startswith("md5"):
        digest = hashlib.md5((password + role.name).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(role.verifier, f"md5{digest}")
    mechanism, _, rest = role.verifier.partition("$")
    if mechanism != "SCRAM-SHA-256" or not password:
        return False
    told, keys = rest.split("$")
    iterations, salt = told.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return hmac.compare_digest(base64.b64decode(keys.split(":")[0]), stored)
