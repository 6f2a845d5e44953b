"""A token is a plain JWS: any JWT library checks it offline, once the prefix is cut off."""

import jwt
import pytest
import requests


@pytest.fixture
def jwks(node):
    answer = requests.get(node.url + "/.well-known/jwks.json", timeout=10)
    assert answer.status_code == 200
    return jwt.PyJWKSet.from_dict(answer.json())


def check(jwks, token, **options):
    jws = token.split("_", 2)[2]
    key = jwks[jwt.get_unverified_header(jws)["kid"]]
    return jwt.decode(jws, key, algorithms=["EdDSA"], **options)


def test_pyjwt_accepts_a_token_and_reads_its_claims(node, jwks):
    agent = node.agent()
    issued = node.token(
        agent["id"], scope=["db.read", "db.write"], target_service="billing", intent="reconcile"
    )
    assert issued["token"].startswith("rai_live_")
    header = jwt.get_unverified_header(issued["token"].removeprefix("rai_live_"))
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    claims = check(jwks, issued["token"], audience="billing")
    assert claims["sub"] == claims["client_id"] == agent["id"]
    assert claims["scope"] == "db.read db.write"
    assert claims["jti"] == issued["token_id"]
    assert claims["intent"] == "reconcile"
    assert claims["org"].startswith("org_")
    assert claims["exp"] - claims["iat"] == 300


def test_pyjwt_refuses_a_token_with_any_part_changed(node, jwks):
    token = node.token(node.agent()["id"])["token"]
    start, other = len("rai_live_"), {"A": "B"}
    dots = [at for at, char in enumerate(token) if char == "."]
    for at in (start + 5, dots[0] + 5, dots[1] + 5):
        changed = token[:at] + other.get(token[at], "A") + token[at + 1 :]
        with pytest.raises((jwt.InvalidTokenError, KeyError, UnicodeDecodeError)):
            check(jwks, changed, audience="any")
