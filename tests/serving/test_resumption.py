"""Keys with which callers come back."""

from __future__ import annotations

from voicepipe.serving.resumption import Key, Resumption


def test_a_key_is_an_id_and_a_secret() -> None:
    """What a peer shows is read as what it was given, also if the id has dots; and nothing prints a secret."""
    key = Key.new("call.with.dots")
    assert Key.read(key.text) == key
    assert key.fits(key.hashed)
    assert not Key.new("call.with.dots").fits(key.hashed)
    assert not Key.read("call.with.dots.").fits(key.hashed)
    assert not key.fits("nonsense ü\ud800")
    assert key.secret not in f"{key!r} {Resumption(key=key.text)!r} {key.hashed}"
    assert Key("CA123").text == ""
