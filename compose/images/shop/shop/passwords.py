"""Passwords as scrypt hashes: `scrypt$<n>$<r>$<p>$<salt>$<hash>`, so that each hash says how it was made."""

from __future__ import annotations

import hashlib
import hmac
import secrets

# OWASP's parameters for scrypt ask for 128 * N * r bytes: 16 MiB here. (OWASP Password Storage Cheat Sheet)
N, R, P = 2**14, 8, 5


def hash_password(password: str) -> str:
    """Hash a password with a fresh salt."""
    salt = secrets.token_bytes(16)
    return f"scrypt${N}${R}${P}${salt.hex()}${_scrypt(password, salt, N, R, P).hex()}"


def verify_password(password: str, stored: str | None) -> bool:
    """Whether the password is the stored one. Without a stored one it takes as long, so time tells no account apart."""
    if stored is None:
        _scrypt(password, b"no such account.", N, R, P)
        return False
    _, n, r, p, salt, expected = stored.split("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt), int(n), int(r), int(p)), bytes.fromhex(expected))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)
