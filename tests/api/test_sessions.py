"""Register, log in, refresh, log out; and what a token that has expired, been used or been forged is worth."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def signed(claims, key, algorithm="HS256"):
    """A JSON Web Token (RFC 7519), made by hand: the test shares no code with what it tests."""
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "typ": "JWT"}, claims)]
    message = ".".join(encoded(part) for part in parts)
    return f"{message}.{encoded(hmac.digest(key.encode(), message.encode(), hashlib.sha256))}"


@pytest.fixture
def signing_key(stack):
    return stack.env("shop")["SHOP_SIGNING_KEY"]


def test_after_registering_one_can_log_in(http, login):
    account = {"email": "new@example.com", "password": "a long enough one"}

    assert http.post("/users", json=account).json()["role"] == "customer"
    token = login(**account)["access_token"]
    assert http.get("/me", headers=bearer(token)).json()["email"] == "new@example.com"


def test_a_password_is_stored_as_a_salted_hash_only(http, db):
    for email in ("one@example.com", "two@example.com"):
        http.post("/users", json={"email": email, "password": "the very same"})

    hashes = {stored for (stored,) in db.execute("SELECT password_hash FROM users WHERE id > 3")}
    assert len(hashes) == 2
    assert all(stored.startswith("scrypt$") for stored in hashes)


def test_an_address_registers_once_however_it_is_written(http, db, problem):
    response = http.post("/users", json={"email": "ADA@example.com", "password": "a long enough one"})

    problem(response, 409)
    assert db.execute("SELECT email FROM users WHERE lower(email) LIKE 'ada@%'").fetchall() == [("ada@example.com",)]


def test_nobody_makes_themselves_an_admin(http):
    response = http.post("/users", json={"email": "new@example.com", "password": "a long enough one", "role": "admin"})

    assert response.json()["role"] == "customer"


def test_a_login_tells_who_one_is(as_customer):
    assert as_customer.get("/me").json() == {"id": 2, "email": "ada@example.com", "role": "customer"}


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(http, problem, email):
    response = http.post("/login", json={"email": email, "password": "wrong"})

    assert problem(response, 401)["detail"] == "Address or password is wrong"


def test_without_a_token_nobody_gets_in(http, problem):
    response = http.get("/me")

    problem(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_access_token_is_good_for_five_minutes(login):
    tokens = login("ada@example.com")
    claims = claims_of(tokens["access_token"])

    assert tokens["expires_in"] == claims["exp"] - claims["iat"] == 300


def test_an_expired_access_token_is_refused(http, login, signing_key, problem):
    claims = claims_of(login("ada@example.com")["access_token"])
    still_good = signed({**claims, "exp": int(time.time()) + 60}, signing_key)
    expired = signed({**claims, "exp": int(time.time()) - 1}, signing_key)

    assert http.get("/me", headers=bearer(still_good)).status_code == 200
    assert problem(http.get("/me", headers=bearer(expired)), 401)["detail"] == "The access token has expired"


@pytest.mark.parametrize("forge", ["another key", "no signature", "no expiry", "no session", "no token at all"])
def test_a_forged_access_token_is_refused(http, login, signing_key, problem, forge):
    claims = claims_of(login("ada@example.com")["access_token"])
    token = {
        "another key": signed(claims, "x" * 32),
        "no signature": signed(claims, "", algorithm="none"),
        "no expiry": signed({"sid": claims["sid"]}, signing_key),
        "no session": signed({"exp": claims["exp"]}, signing_key),
        "no token at all": "ada@example.com",
    }[forge]

    assert problem(http.get("/me", headers=bearer(token)), 401)["detail"] == "The access token is not valid"


def test_a_refresh_gives_new_tokens_that_work(http, login):
    first = login("ada@example.com")

    second = http.post("/refresh", json={"refresh_token": first["refresh_token"]}).json()

    assert second["refresh_token"] != first["refresh_token"]
    assert http.get("/me", headers=bearer(second["access_token"])).status_code == 200
    assert http.post("/refresh", json={"refresh_token": second["refresh_token"]}).status_code == 200


def test_a_refresh_token_that_comes_back_ends_the_session_of_thief_and_victim(http, login, problem):
    stolen = login("ada@example.com")["refresh_token"]
    newest = http.post("/refresh", json={"refresh_token": stolen}).json()

    problem(http.post("/refresh", json={"refresh_token": stolen}), 401)

    problem(http.post("/refresh", json={"refresh_token": newest["refresh_token"]}), 401)
    assert problem(http.get("/me", headers=bearer(newest["access_token"])), 401)["status"] == 401


def test_of_two_refreshes_at_once_only_one_succeeds(http, login):
    body = {"refresh_token": login("ada@example.com")["refresh_token"]}

    with ThreadPoolExecutor(max_workers=2) as threads:
        racers = [threads.submit(http.post, "/refresh", json=body) for _ in range(2)]

    assert sorted(racer.result().status_code for racer in racers) == [200, 401]


def test_an_expired_refresh_token_is_refused(http, login, db, problem):
    token = login("ada@example.com")["refresh_token"]
    db.execute("UPDATE refresh_tokens SET issued_at = issued_at - interval '31 days', expires_at = now()")

    assert problem(http.post("/refresh", json={"refresh_token": token}), 401)["status"] == 401


def test_the_database_knows_refresh_tokens_by_their_hash_only(login, db):
    token = login("ada@example.com")["refresh_token"]

    (stored,) = db.execute("SELECT token_hash FROM refresh_tokens").fetchone()
    assert stored == hashlib.sha256(token.encode()).digest()


def test_after_logout_neither_token_works(http, login, problem):
    tokens = login("ada@example.com")

    assert http.post("/logout", headers=bearer(tokens["access_token"])).status_code == 204

    problem(http.get("/me", headers=bearer(tokens["access_token"])), 401)
    problem(http.post("/refresh", json={"refresh_token": tokens["refresh_token"]}), 401)


def test_a_logout_leaves_other_sessions_alone(http, login):
    phone, laptop = login("ada@example.com"), login("ada@example.com")

    http.post("/logout", headers=bearer(phone["access_token"]))

    assert http.get("/me", headers=bearer(laptop["access_token"])).status_code == 200
