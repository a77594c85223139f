"""What may differ between honest providers: the kind of key, odd headers, whether keys are named."""

import json
import time
import warnings
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.identity.connections.id_tokens import Pinned, check_id_token
from services.identity.connections.problems import AnswerNotValid

KEYS: dict[str, Any] = {
    "RS256": RSAKey.generate_key(2048, {"kid": "one"}),
    "PS256": RSAKey.generate_key(2048, {"kid": "one"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "one"}),
    "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "one"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "one"}),
}


def _token(algorithm: str, **header: object) -> str:
    now = int(time.time())
    claims = {"iss": "i", "aud": ["c"], "sub": "s", "nonce": "n", "iat": now, "exp": now + 60}
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact(
            {"alg": algorithm, **header}, json.dumps(claims), KEYS[algorithm], registry=registry
        )


def _pinned(algorithm: str, *more: Any) -> Pinned:
    keys = [KEYS[algorithm], *more]
    return Pinned("i", "c", [algorithm], [one.as_dict(private=False) for one in keys])


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_algorithm_that_we_name_is_taken(algorithm: str) -> None:
    assert check_id_token(_token(algorithm, kid="one", odd="x"), _pinned(algorithm), nonce="n")["sub"] == "s"


@pytest.mark.parametrize("algorithm", KEYS)
def test_no_algorithm_is_taken_that_is_not_agreed(algorithm: str) -> None:
    pinned = _pinned(algorithm)
    other = Pinned("i", "c", [one for one in KEYS if one != algorithm], pinned.keys)
    with pytest.raises(AnswerNotValid) as refused:
        check_id_token(_token(algorithm, kid="one"), other, nonce="n")
    assert refused.value.params["reason"] == "algorithm"


def test_a_key_need_not_be_named_where_there_is_one_only() -> None:
    assert check_id_token(_token("ES256"), _pinned("ES256"), nonce="n")["sub"] == "s"
    assert check_id_token(_token("ES256"), _pinned("ES256", KEYS["RS256"]), nonce="n")["sub"] == "s"
    with pytest.raises(AnswerNotValid) as refused:
        check_id_token(_token("ES256"), _pinned("ES256", ECKey.generate_key("P-256", {"kid": "two"})), nonce="n")
    assert refused.value.params["reason"] == "which_key"


def test_a_key_for_something_else_is_no_key() -> None:
    """A key set may say what each key is for: encryption, or another algorithm."""
    said = KEYS["RS256"].as_dict(private=False)
    for unfit in ({"use": "enc"}, {"alg": "PS256"}):
        with pytest.raises(AnswerNotValid):
            check_id_token(_token("RS256", kid="one"), Pinned("i", "c", ["RS256"], [{**said, **unfit}]), nonce="n")
