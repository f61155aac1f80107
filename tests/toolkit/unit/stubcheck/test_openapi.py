"""Stubs against an OpenAPI document: each test makes one mistake, and reads where it is, there and in the contract."""

from __future__ import annotations

import pytest

CONTRACT = """\
openapi: 3.0.3
servers: [{url: "https://pay.example/{version}/", variables: {version: {default: v1}}}]
paths:
  /payments:
    post:
      parameters: [{$ref: "#/components/parameters/expand"}, {name: X-Tenant, in: header, schema: {type: string}}]
      requestBody:
        content:
          application/json:
            schema: {$ref: "#/components/schemas/New"}
      responses:
        201:
          headers:
            Location: {required: true, schema: {type: string}}
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Payment"}
        4XX:
          content:
            application/problem+json:
              schema: {type: object, required: [error]}
        204: {description: nothing}
  /payments/{id}:
    parameters: [{name: id, in: path, schema: {type: integer}}]
    get:
      responses:
        default:
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Payment"}
  /payments/search:
    get: {responses: {200: {content: {text/*: {}}}}}
components:
  parameters:
    expand: {name: expand, in: query, schema: {type: boolean}}
  schemas:
    New:
      type: object
      required: [amount, currency]
      properties:
        amount:
          type: integer
          minimum: 0
          exclusiveMinimum: true
        currency: {type: string}
        card: {allOf: [{properties: {number: {type: string}}}]}
        more: {properties: {a: {}}, additionalProperties: true}
    Payment:
      type: object
      additionalProperties: false
      required: [id, secret]
      properties:
        id: {type: string}
        secret: {type: string, writeOnly: true}
        status:
          enum: [paid, open]
        amount:
          type: integer
        at: {type: string, format: date-time}
        note: {type: string, nullable: true}
        tags: {uniqueItems: true}
        payer:
          oneOf:
            - {type: object, required: [iban], properties: {iban: {type: string}}}
            - {type: object, required: [card], properties: {card: {type: string}}}
"""


def post(asked: str = "", answered: str = "status: 201, headers: {Location: /}, json: {id: a}") -> str:
    """A stub for a payment, its request on line 1 and its response on line 2."""
    return f"- request: {{method: POST, host: pay.example, path: /v1/payments, {asked}}}\n  response: {{{answered}}}\n"


def get(path: str, answered: str = "json: {id: a}") -> str:
    return f"- request: {{method: GET, path: {path}}}\n  response: {{{answered}}}\n"


def created(body: str) -> str:
    return post(answered=f"status: 201, headers: {{Location: /}}, json: {body}")


@pytest.mark.parametrize(
    "stub",
    [
        post("query: {expand: true}, headers: {X-Tenant: a, Authorization: b, X-No: {absent: true}}"),
        post('json: {amount: 1}, jsonpath: {"$.card.number": "42", "$..x": 1}'),
        post("json_exact: {amount: 1, currency: EUR, more: {b: 1}}"),
        post(
            answered='status: 402, headers: {Content-Type: "application/problem+json; charset=utf-8"}, json: {error: a}'
        ),
        post(answered="status: 204"),
        created(
            '{id: "{{ uuid }}", at: "{{ now }}", note: null, amount: "{{ request.json.a }}", status: "{{ env.A }}"}'
        ),
        created(
            '{id: "{{ request.path.id }}", payer: {iban: "{{ request.json.iban }}", card: "{{ request.json.card }}"}}'
        ),
        created('{id: a, tags: ["{{ request.json.a }}", "{{ request.json.a }}"]}'),
        get("/v1/payments/7"),
        get('"/v1/payments/{id}"', "status: 404, json: {id: a}"),
        get("/v1/payments/search", "body: found"),
        get('{regex: "/v1/payments/[0-9]+"}'),
        get('{glob: "/v1/**"}'),
        "- {request: {host: pay.example}, overlay: true, fault: {status: 503}}",
        "- {request: {host: other.example, path: /anything}}\n" + post(),
    ],
)
def test_what_the_contract_declares_is_fine(check, stub) -> None:
    assert check(stub, pay_example=CONTRACT) == []


@pytest.mark.parametrize(
    ("stub", "said"),
    [
        (
            post("query: {expnd: true}"),
            "stubs.yaml:1: POST /v1/payments declares no query parameter `expnd` (pay.example.yaml:5)",
        ),
        (
            post("query: {expand: maybe}"),
            "stubs.yaml:1: parameter `expand`: 'maybe' is not of type 'boolean' (pay.example.yaml:35)",
        ),
        (
            post("headers: {X-Tennant: a}"),
            "stubs.yaml:1: POST /v1/payments declares no header `X-Tennant` (pay.example.yaml:5)",
        ),
        (post("json: {amuont: 1}"), "stubs.yaml:1: the request's schema has no `amuont` (pay.example.yaml:37)"),
        (post("json: {card: {numer: a}}"), "stubs.yaml:1: the request's schema has no `numer` (pay.example.yaml:46)"),
        (
            post('jsonpath: {"$.card.numer": a}'),
            "stubs.yaml:1: the request's schema has no `numer` (pay.example.yaml:46)",
        ),
        (
            post("json: {amount: 0}"),
            "stubs.yaml:1: the request's $.amount: 0 is the limit, which is excluded (pay.example.yaml:44)",
        ),
        (
            post("json_exact: {amount: 1}"),
            "stubs.yaml:1: the request's $: 'currency' is a required property (pay.example.yaml:39)",
        ),
        (
            post(answered="status: 500"),
            "stubs.yaml:2: POST /v1/payments declares no status 500, only 201, 4XX, 204 (pay.example.yaml:11)",
        ),
        (
            post(answered="status: 201, json: {id: a}"),
            "stubs.yaml:2: the header Location is missing, which is required (pay.example.yaml:14)",
        ),
        (
            post(answered="status: 402, json: {error: a}"),
            "stubs.yaml:2: POST /v1/payments, status 402: no content type application/json is declared, only "
            "application/problem+json (pay.example.yaml:18)",
        ),
        (
            post(answered="status: 402, headers: {Content-Type: application/problem+json}, body: none"),
            "stubs.yaml:2: its content type is JSON, which it is not: Expecting value: ",
        ),
        (
            post(answered="status: 204, body: none"),
            "stubs.yaml:2: POST /v1/payments, status 204: no body is declared (pay.example.yaml:22)",
        ),
        (
            get("/v1/payments/7", "status: 200"),
            "stubs.yaml:2: GET /v1/payments/{id}, status 200: a body is declared (application/json), the stub "
            "has none (pay.example.yaml:27)",
        ),
        (created("{}"), "stubs.yaml:2: $: 'id' is a required property (pay.example.yaml:51)"),
        (
            created("{id: a, more: 1}"),
            "stubs.yaml:2: $: Additional properties are not allowed ('more' was unexpected) (pay.example.yaml:50)",
        ),
        (
            created("{id: a, status: lost}"),
            "stubs.yaml:2: $.status: 'lost' is not one of ['paid', 'open'] (pay.example.yaml:56)",
        ),
        (
            created("{id: a, at: yesterday}"),
            "stubs.yaml:2: $.at: 'yesterday' is not a 'date-time' (pay.example.yaml:59)",
        ),
        (
            created('{id: a, amount: "{{ request.query.amount }}"}'),
            "stubs.yaml:2: $.amount: `{{ request.query.amount }}` gives a text, not integer (pay.example.yaml:58)",
        ),
        (created('{id: a, status: "{{ uuid }}"}'), "stubs.yaml:2: $.status: "),
        (created("{id: a, payer: {iban: a, card: b}}"), "stubs.yaml:2: $.payer: "),
        (created('{id: a, at: "2026-11-20T10:00:00"}'), "stubs.yaml:2: $.at: "),
        (get("/v1/payment"), "stubs.yaml:1: the contract has no path that fits `/v1/payment` (pay.example.yaml:3)"),
        (get('{glob: "/v2/**"}'), "stubs.yaml:1: the contract has no path that fits `/v2/**` (pay.example.yaml:3)"),
        (
            get("/v1/payments/seven"),
            "stubs.yaml:1: parameter `id`: 'seven' is not of type 'integer' (pay.example.yaml:24)",
        ),
        (
            get("/v1/payments/search", "json: {id: a}"),
            "stubs.yaml:2: GET /v1/payments/search, status 200: no content type application/json",
        ),
        (
            "- {request: {method: [GET, PUT], path: /v1/payments/7}, response: {json: {id: a}}}",
            "stubs.yaml:1: /v1/payments/{id} has no PUT, only GET (pay.example.yaml:23)",
        ),
        (
            get("/v1/payments/7", "json: {id: a}").replace("path:", "json: {a: 1}, path:"),
            "stubs.yaml:1: GET /v1/payments/{id} takes no body",
        ),
    ],
)
def test_what_it_does_not_declare_is_told_with_both_places(check, stub, said) -> None:
    assert check(stub, pay_example=CONTRACT)[0].startswith(said)


def test_all_that_is_wrong_is_told_at_once_each_at_its_own_line(check) -> None:
    stub = """\
- name: two answers
  request: {method: POST, path: /v1/payments}
  responses:
    - status: 201
      headers: {Location: /}
      json:
        id: a
        amount: many
    - status: 500
"""
    first, second, hint = check(stub, pay_example=CONTRACT)
    assert first == "stubs.yaml:8: $.amount: 'many' is not of type 'integer' (pay.example.yaml:58)"
    assert second.strip().startswith("stubs.yaml:9: POST /v1/payments declares no status 500")
    assert "mock.stub" in hint


def test_openapi_3_1_says_null_and_exclusive_limits_its_own_way(check) -> None:
    contract = """\
openapi: 3.1.0
paths:
  /x:
    get:
      responses:
        200:
          content:
            application/json:
              schema: {properties: {a: {type: [string, "null"]}, b: {exclusiveMinimum: 3}, c: {const: 1}}}
"""
    assert check(get("/x", "json: {a: null, b: 4, c: 1}"), pay_example=contract) == []
    found = check(get("/x", "json: {a: 1, b: 3, c: 2}"), pay_example=contract)
    assert [line.split(": ")[1] for line in found[:3]] == ["$.a", "$.b", "$.c"]


@pytest.mark.parametrize(
    ("contract", "said"),
    [
        ("openapi: 2.0.0", "pay.example.yaml:1: OpenAPI 3 is read, not `2.0.0`"),
        ("swagger: '2.0'", "pay.example.yaml: neither OpenAPI 3 nor a pact"),
        ("[]", "pay.example.yaml: a contract is a mapping, not a list"),
        (
            CONTRACT.replace("#/components/parameters/expand", "#/components/parameters/none"),
            "pay.example.yaml:6: `$ref: ",
        ),
        (
            CONTRACT.replace("#/components/schemas/Payment", "other.yaml#/Payment"),
            "pay.example.yaml:17: `$ref: other.yaml",
        ),
        (
            CONTRACT.replace("{type: string, writeOnly: true}", "{$ref: '#/nowhere'}"),
            "pay.example.yaml:48: its schema refers to `/nowhere`, which is not there",
        ),
    ],
)
def test_a_contract_of_no_use_is_refused(check, contract, said) -> None:
    stub = created("{id: a, secret: b}").replace("/v1/payments,", "/v1/payments, query: {expand: true},")
    assert check(stub, pay_example=contract)[0].startswith(said)
