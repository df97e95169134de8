"""Twilio's signature, compared with the vendor's own library where it is installed."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.serving.twilio.signature import is_signed, key_of, sign

SECRET = "12345"
URL = "https://voice.example.com/twilio"
FORM = [("CallSid", "CA1"), ("From", "+15550100"), ("To", "+15550199"), ("Empty", "")]

needs_twilio = pytest.mark.skipif(
    find_spec("twilio") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason="not installed: twilio"
)


@pytest.mark.parametrize("signed", [URL, "https://voice.example.com:443/twilio"])
@pytest.mark.parametrize("known", [URL, "https://voice.example.com:443/twilio"])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_the_usual_port_may_be_written_or_not(signed: str, known: str, digest: str) -> None:
    """Twilio signs with and without :443, and so may the server be configured."""
    assert is_signed(sign(SECRET, signed, FORM, digest=digest), [SECRET], known, FORM, digest=digest)


def test_another_port_counts() -> None:
    """A port other than the usual one is part of what was signed."""
    assert is_signed(sign(SECRET, "wss://voice.example.com:8443/a"), [SECRET], "wss://voice.example.com:8443/a")
    assert not is_signed(sign(SECRET, "wss://voice.example.com:8444/a"), [SECRET], "wss://voice.example.com:8443/a")


@pytest.mark.parametrize(
    ("url", "form", "secret"),
    [
        ("wss://voice.example.com/twilio", FORM, SECRET),
        ("https://voice.example.com/twilio/", FORM, SECRET),
        ("https://voice.example.com/twilio?a=1", FORM, SECRET),
        ("https://other.example.com/twilio", FORM, SECRET),
        (URL, FORM[1:], SECRET),
        (URL, [*FORM, ("Digits", "1")], SECRET),
        (URL, [("CallSid", "CA2"), *FORM[1:]], SECRET),
        (URL, FORM, "12346"),
    ],
)
def test_anything_else_is_not_signed(url: str, form: list[tuple[str, str]], secret: str) -> None:
    """Scheme, host, path, slash, query, each field and the secret count."""
    assert not is_signed(sign(SECRET, URL, FORM), [secret], url, form)


@pytest.mark.parametrize("at", range(0, 28, 3))
def test_one_bit_counts(at: int) -> None:
    """A signature that differs in one bit is wrong; so are an empty one, half of one, and none."""
    right = sign(SECRET, URL, FORM).encode()
    wrong = right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :]
    assert not is_signed(wrong.decode(), [SECRET], URL, FORM)
    for given_ in ("", right[:at].decode(), None, "é"):
        assert not is_signed(given_, [SECRET], URL, FORM)


def test_one_of_several_secrets_is_enough() -> None:
    """A server of several accounts accepts the signature of each; of none if it has none."""
    signature = sign(SECRET, URL)
    assert is_signed(signature, ["a", SECRET, "b"], URL)
    assert not is_signed(signature, [], URL)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, ("", "sha1")),
        ("", ("", "sha1")),
        ("key=k1", ("k1", "sha1")),
        ("key=k1,algorithm=HMAC_SHA256", ("k1", "sha256")),
        (" algorithm = hmac_sha256 , key = k1", ("k1", "sha256")),
        ("key=k1,algorithm=HMAC_SHA1", ("k1", "sha1")),
        ("key=k1,algorithm=HMAC_MD5", None),
        ("algorithm=none", None),
    ],
)
def test_the_header_names_key_and_algorithm(header: str | None, found: tuple[str, str] | None) -> None:
    """Without the header, the account's token has signed with SHA-1; an unknown algorithm is nobody's."""
    assert key_of(header) == found


NAMES = st.text(st.characters(codec="utf-8"), max_size=5)
PAIRS = st.lists(st.tuples(NAMES, NAMES), max_size=5)
URLS = st.builds(
    "{}://voice.example.com{}{}".format,
    st.sampled_from(["https", "http"]),
    st.sampled_from(["", ":443", ":80", ":8000"]),
    st.sampled_from(["", "/", "/twilio", "/a/b?c=d&e="]),
)


@needs_twilio
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@given(URLS, PAIRS, st.text("abc", min_size=1), st.booleans())
def test_the_vendors_library_agrees(
    digest: str, url: str, pairs: list[tuple[str, str]], secret: str, is_right: bool
) -> None:
    """For every URL, form and secret, Twilio's own validator accepts our signature, and we accept what it does."""
    from twilio.request_validator import RequestValidator

    validator, algorithm = RequestValidator(secret), f"HMAC_{digest.upper()}"
    form: dict[str, str] = dict(pairs)
    signature = sign(secret if is_right else secret + "x", url, form.items(), digest=digest)
    assert validator.validate(url, form, signature, algorithm) is is_right
    theirs = validator.compute_signature(url, form, algorithm)
    assert is_signed(theirs, [secret], url, form.items(), digest=digest)
