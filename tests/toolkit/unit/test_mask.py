"""Masking: no notation of a secret is left, and nothing else is touched."""

from __future__ import annotations

import base64
import html
import json
import string
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from itest.verdict import known
from itest.verdict.live import LiveMask
from itest.verdict.mask import STARS, Masker, is_distinct, is_secret_key, mask_assignments, mask_urls, secrets_of

SECRET = "pä/ss+w<o&r>d\"1'$x"
SECRETS = st.text(st.characters(blacklist_characters="*", blacklist_categories=("Cs",)), min_size=8).filter(is_distinct)
ASCII_SECRETS = st.text(string.ascii_letters + string.digits + "-_", min_size=8, max_size=40).filter(is_distinct)

NOTATIONS = {
    "raw": SECRET,
    "url": quote(SECRET, safe=""),
    "url path": quote(SECRET),
    "url form": quote_plus(SECRET),
    "url in lower case": quote(SECRET, safe="").replace("%2F", "%2f").replace("%C3%A4", "%c3%a4")
    .replace("%2B", "%2b").replace("%3C", "%3c").replace("%3E", "%3e"),
    "json": json.dumps(SECRET)[1:-1],
    "json in utf-8": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "json of php": json.dumps(SECRET)[1:-1].replace("/", r"\/"),
    "python": repr(SECRET)[1:-1],
    "xml text": html.escape(SECRET, quote=False),
    "xml attribute": html.escape(SECRET),
    "xml attribute of ElementTree": html.escape(SECRET, quote=False).replace('"', "&quot;"),
    "xml with &apos;": html.escape(SECRET).replace("&#x27;", "&apos;"),
    "compose": SECRET.replace("$", "$$"),
    "yaml": SECRET.replace("'", "''"),
}  # fmt: skip


@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_notation_is_masked(notation: str) -> None:
    assert Masker([SECRET]).text(f"a {NOTATIONS[notation]} b") == f"a {STARS} b"


@pytest.mark.parametrize("user", ["", "a", "ab", "abc"])
def test_a_basic_authorization_header_is_masked_for_users_of_any_length(user: str) -> None:
    header = base64.b64encode(f"{user}:Generated-Secret-0".encode()).decode()
    masked = Masker(["Generated-Secret-0"]).text(f"Authorization: Basic {header}")
    shown = masked.removeprefix("Authorization: Basic ")
    assert STARS in shown
    assert len(shown) < len(header) - 16
    assert Masker(["another-Secret-0"]).text(header) == header


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_both_alphabets_of_base64_are_masked(encode: Callable[[bytes], bytes]) -> None:
    secret = "~~~???>>>0aB"  # its base64 has the characters in which the alphabets differ
    assert Masker([secret]).text(encode(secret.encode()).decode()) == STARS


@given(st.text(), SECRETS, st.text())
def test_no_secret_is_left(before: str, secret: str, after: str) -> None:
    assume("*" not in before + after)  # or stars and text might make up a form of their own
    masker = Masker([secret])
    for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], html.escape(secret)):
        assert form not in masker.text(f"{before}{form}{after}")


@given(st.text(" \t\n\x00{}[]<>&\"'%$#é漢"), st.lists(ASCII_SECRETS))
def test_text_that_no_secret_is_made_of_is_untouched(text: str, secrets: list[str]) -> None:
    assert Masker(secrets).text(text) == text


@given(st.lists(ASCII_SECRETS, min_size=1, max_size=4), st.text(" \n=:,\"'é"))
def test_what_stands_between_secrets_stays(secrets: list[str], between: str) -> None:
    assert Masker(secrets).text(between.join(["", *secrets, ""])) == between.join(["", *[STARS] * len(secrets), ""])


@given(st.text() | st.dictionaries(st.text(), st.text() | st.integers()))
def test_masked_json_is_still_json(value: object) -> None:
    text = json.dumps({"a": value, "b": SECRET})
    assert json.loads(Masker([SECRET]).text(text)) == {"a": value, "b": STARS}


def test_of_two_secrets_that_begin_alike_the_longer_is_taken_whole() -> None:
    short, long = "Secret-0123", "Secret-0123-and-more"
    assert Masker([short, long]).text(f"{long} {short}") == f"{STARS} {STARS}"


@pytest.mark.parametrize("plain", ["itest", "postgres", "", "a1", "aaaaaaaa1", "password"])
def test_a_plain_development_password_is_not_looked_for(plain: str) -> None:
    text = "itest: postgres says password, aaaaaaaa1 a1"
    assert not is_distinct(plain)
    assert Masker([plain]).text(text) == text


def test_generated_secrets_are_distinct() -> None:
    from secrets import token_hex, token_urlsafe

    assert all(is_distinct(token_hex(16)) and is_distinct(token_urlsafe(16)) for _ in range(1000))


@given(st.binary(), ASCII_SECRETS, st.binary())
def test_a_file_is_masked_in_place_whatever_its_encoding(before: bytes, secret: str, after: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "postgres.log"
        log.write_bytes(before + b"\xff " + secret.encode() + b" \xff" + after)
        Masker([secret]).mask_file(log)
        assert secret.encode() not in log.read_bytes()
        assert b"\xff " + STARS.encode() + b" \xff" in log.read_bytes()
        assert list(Path(folder).iterdir()) == [log]


def test_a_file_without_a_secret_is_not_written(tmp_path: Path) -> None:
    log = tmp_path / "redis.log"
    log.write_bytes(b"ready\n" * 1000)
    before = log.stat()
    Masker(["Generated-Secret-0"]).mask_file(log)
    assert (log.stat().st_ino, log.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_masked_file_keeps_its_mode_and_an_empty_one_is_fine(tmp_path: Path) -> None:
    log, empty = tmp_path / "a.log", tmp_path / "b.log"
    log.write_text("Generated-Secret-0")
    empty.touch()
    log.chmod(0o640)
    for path in (log, empty):
        Masker(["Generated-Secret-0"]).mask_file(path)
    assert (log.read_text(), log.stat().st_mode & 0o777, empty.read_text()) == (STARS, 0o640, "")


CONFIG = {
    "name": "itest-api",
    "services": {
        "postgres": {
            "image": "postgres:17.11",
            "environment": {
                "POSTGRES_PASSWORD": "itest", "POSTGRES_DB": "itest", "POSTGRES_PASSWORD_FILE": "/run/secrets/pg",
                "PGPASSWORD": "hunter2", "REQUIRE_TOKEN": True, "EMPTY_SECRET": "",
            },
        },
        "redis": {
            "command": ["redis-server", "--requirepass", "hunter2", "--dir", "/itest/hunter2"],
            "healthcheck": {"test": ["CMD-SHELL", "redis-cli -a hunter2 ping || exit 1"], "interval": "250ms"},
            "environment": ["API_KEY=k", "HOST=redis", "NOTE=a=b"],
        },
        "shop": {
            "build": {"args": {"NPM_TOKEN": 12345}},
            "environment": {
                "DATABASE_URL": "postgresql://shop:it@est@postgres:5432/itest?sslmode=disable",
                "REDIS_URL": "redis://:itest@redis:6379/0",
                "DSN": "host=postgres user=shop password=itest dbname=itest",
                "CALLBACK": "http://shop:8000/a@b",
                "GENERATED": "Generated-Secret-0",
            },
            "labels": {"itest": "itest"},
        },
    },
}  # fmt: skip


def test_a_compose_file_is_masked_by_key_in_urls_in_commands_and_by_value() -> None:
    masked = Masker(["Generated-Secret-0"]).config(CONFIG)
    services = masked["services"]
    assert services["postgres"]["environment"] == {
        "POSTGRES_PASSWORD": STARS, "POSTGRES_DB": "itest", "POSTGRES_PASSWORD_FILE": "/run/secrets/pg",
        "PGPASSWORD": STARS, "REQUIRE_TOKEN": True, "EMPTY_SECRET": "",
    }  # fmt: skip
    assert services["redis"] == {
        "command": ["redis-server", "--requirepass", STARS, "--dir", "/itest/hunter2"],
        "healthcheck": {"test": ["CMD-SHELL", f"redis-cli -a {STARS} ping || exit 1"], "interval": "250ms"},
        "environment": [f"API_KEY={STARS}", "HOST=redis", "NOTE=a=b"],
    }
    assert services["shop"] == {
        "build": {"args": {"NPM_TOKEN": STARS}},
        "environment": {
            "DATABASE_URL": f"postgresql://shop:{STARS}@postgres:5432/itest?sslmode=disable",
            "REDIS_URL": f"redis://:{STARS}@redis:6379/0",
            "DSN": f"host=postgres user=shop password={STARS} dbname=itest",
            "CALLBACK": "http://shop:8000/a@b",
            "GENERATED": STARS,
        },
        "labels": {"itest": "itest"},
    }
    assert (masked["name"], CONFIG["services"]["postgres"]["environment"]["PGPASSWORD"]) == ("itest-api", "hunter2")  # type: ignore[index]


def test_the_secrets_of_a_compose_file_are_found() -> None:
    assert secrets_of(CONFIG) == {"itest", "hunter2", "k", "12345"}


@pytest.mark.parametrize(
    "key", ["POSTGRES_PASSWORD", "password", "JWT_SECRET", "API_KEY", "REDISCLI_AUTH", "db.password", "clientSecret"]
)
def test_keys_that_hold_secrets(key: str) -> None:
    assert is_secret_key(key)


@pytest.mark.parametrize("key", ["POSTGRES_PASSWORD_FILE", "MONKEY", "TOKENS_PER_DAY", "secrets"])
def test_keys_that_do_not(key: str) -> None:
    assert not is_secret_key(key)


def test_urls_without_a_password_are_untouched() -> None:
    text = "GET http://shop:8000/users/a@b?x=y:z@w and redis://redis:6379, mail a@b"
    assert mask_urls(text) == text


def test_what_a_report_says_of_an_assertion_is_masked():
    """pytest writes Python's notation into XML, the capsule into JSON."""
    python = repr(SECRET)[1:-1]
    for text in (html.escape(python), html.escape(python, quote=False), json.dumps(python)[1:-1]):
        assert Masker([SECRET]).text(f"assert '{text}' == ''") == f"assert '{STARS}' == ''"


@pytest.mark.parametrize("dots", ["...", "…"])
@given(secret=ASCII_SECRETS, seen=st.integers(4, 40))
def test_what_is_left_of_a_secret_that_was_cut_is_masked(dots: str, secret: str, seen: int) -> None:
    assume(seen < len(secret))
    masker = Masker([secret])
    assert masker.text(f"assert '{secret[:seen]}{dots}") == f"assert '{STARS}{dots}"
    assert masker.text(f"{dots}{secret[-seen:]}' ==") == f"{dots}{STARS}' =="
    assert masker.text(f"{dots}{dots} a{dots}b") == f"{dots}{dots} a{dots}b"


def test_of_a_key_of_several_lines_each_is_masked_wherever_a_log_puts_it():
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
    log = "E   MIIEvQIBADANBgkq\nE   hkiG9w0BAQEFAASC\n"
    assert Masker([key]).text(log) == f"E   {STARS}\nE   {STARS}\n"


def shown(masker: Masker, chunks: list[bytes]) -> bytes:
    live = LiveMask(masker)
    return b"".join([*map(live.feed, chunks), live.rest()])


@given(st.lists(ASCII_SECRETS, min_size=1, max_size=3), st.text("ab.\n \x1b[3m", max_size=9), st.data())
def test_output_that_comes_in_any_pieces_is_masked_as_a_whole(secrets: list[str], between: str, data: st.DataObject):
    text = between.join(["", *secrets, ""]).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    masked = shown(Masker(secrets), chunks)
    assert not [secret for secret in secrets if secret.encode() in masked]
    assert masked.count(STARS.encode()) >= 1


def test_output_is_not_held_back_unless_it_may_end_in_a_secret():
    live = LiveMask(Masker(["Generated-Secret-0"]))
    assert live.feed(b"tests/api .....") == b"tests/api ....."
    assert live.feed(b"FF\ntoken Gener") == b"FF\n"
    assert live.feed(b"ous\n") == b"token Generous\n"
    assert live.feed(b"token Generated-Sec") == b""
    assert (live.feed(b"ret-0 is"), live.rest()) == (b"token *** is", b"")


def test_colours_within_a_secret_do_not_show_it():
    painted = b"assert \x1b[33m'Generated\x1b[90m-Secret\x1b[39m-0'\x1b[0m\n"
    assert shown(Masker(["Generated-Secret-0"]), [painted[:24], painted[24:]]) == b"assert '***'\n"
    assert shown(Masker(["Generated-Secret-1"]), [painted]) == painted


KNOWN = {
    "a variable's name": known.in_variables({"API_TOKEN": "S3cret-of-it"}),
    "a URL": known.in_variables({"PIP_INDEX_URL": "https://user:S3cret-of-it@index.example.com/simple"}),
    "a URL that quotes it": known.in_variables({"A": "amqp://user:S3cret%2Dof-it@broker/"}),
    "a URL's user": known.in_text("https://S3cret-of-it-and-longer@git.example.com"),
    "a query": known.in_text("https://hooks.example.com/?channel=1&token=S3cret-of-it&x=1"),
    "a DSN": known.in_text("host=db password='S3cret-of-it' dbname=app"),
    "a header": known.in_command(["curl", "-H", "Authorization: Bearer S3cret-of-it"]),
    "an option": known.in_command(["serve", "--api-token", "S3cret-of-it"]),
    "an option with =": known.in_command("serve --password=S3cret-of-it --port=1"),
    "a setting of Redis": known.in_command(["redis-server", "--requirepass S3cret-of-it"]),
    "redis-cli's": known.in_command(["CMD", "redis-cli", "-h", "redis", "-a", "S3cret-of-it", "ping"]),
    "a shell's": known.in_command("PGPASSWORD=S3cret-of-it psql -h db"),
}  # fmt: skip


@pytest.mark.parametrize("place", KNOWN)
def test_a_secret_is_known_by(place: str) -> None:
    assert {"S3cret-of-it", "S3cret-of-it-and-longer"} & set(KNOWN[place])


def test_what_a_shell_reads_when_it_runs_and_paths_are_no_secrets(tmp_path: Path) -> None:
    assert set(known.in_command("redis-cli -a $REDIS_PASSWORD --token=$TOKEN; PGPASSWORD=$X psql")) == set()
    assert known.in_variables({"TLS_KEY": str(tmp_path), "EMPTY_TOKEN": "", "HOME": "/root"}) == set()


def test_a_secrets_file_is_known_as_a_whole_and_by_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "whole").write_text("S3cret-of-it\n")
    (tmp_path / "lines").write_text("user=me\npassword=S3cret-of-it\n")
    (tmp_path / "json").write_text('{"user": "me", "password": "S3cret-of-it"}')
    (tmp_path / "certificate").write_text("-----BEGIN CERTIFICATE-----\nS3cret-of-it\n-----END CERTIFICATE-----\n")
    for name in ("whole", "lines", "json"):
        assert "S3cret-of-it" in known.in_config({"secrets": {"x": {"file": name}}}, tmp_path)
    assert known.in_file(tmp_path / "certificate") | known.in_file(tmp_path / "missing") == set()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("POSTGRES_PASSWORD: itest", "POSTGRES_PASSWORD: ***"),
        ("    password='two words', port=1", "    password='***', port=1"),
        ('{"clientSecret": "x", "port": 1}', '{"clientSecret": "***", "port": 1}'),
        ("auth: running, healthy", "auth: running, healthy"),
        ("test_token passed: 1", "test_token passed: 1"),
        ("API_TOKEN=*** x", "API_TOKEN=*** x"),
    ],
)
def test_what_is_assigned_to_a_secret_name_is_masked_however_plain(text: str, masked: str) -> None:
    assert mask_assignments(text) == masked
