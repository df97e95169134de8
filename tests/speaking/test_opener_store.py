"""The store of audio: what is found again, and how much it holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import WordMark
from voicepipe.speaking.opener_store import KEPT_BYTES, OpenerStore

MARK = WordMark(char_end=3, end_s=0.1)


def test_what_was_kept_is_found_under_its_own_key() -> None:
    """Audio is found as it was kept, with its marks, by voice, language and text together."""
    kept = OpenerStore()
    kept.put((None, None, "Sure."), (MARK, b"\1\1"))
    assert kept.get((None, None, "Sure.")) == (MARK, b"\1\1")
    for other in (("bob", None, "Sure."), (None, "de", "Sure."), (None, None, "Sure")):
        assert (kept.get(other), other in kept) == ((), False)


def test_the_longest_unused_makes_room() -> None:
    """A text that was just used stays; the one that was not used for longest goes."""
    kept = OpenerStore(room_bytes=4)
    kept.put((None, None, "a"), (b"aa",))
    kept.put((None, None, "b"), (b"bb",))
    assert kept.get((None, None, "a")) == (b"aa",)
    kept.put((None, None, "c"), (b"cc",))
    assert [name for name in "abc" if (None, None, name) in kept] == ["a", "c"]


def test_what_does_not_fit_is_not_kept() -> None:
    """Audio that is larger than the store leaves it empty."""
    kept = OpenerStore(room_bytes=4)
    kept.put((None, None, "a"), (b"12345",))
    assert kept.get((None, None, "a")) == ()


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6))))
def test_it_never_holds_more_than_it_may(puts: list[tuple[str, int]]) -> None:
    """Whatever is kept, replaced and dropped, the bytes that can be found stay within the limit."""
    kept = OpenerStore(room_bytes=8)
    for name, length in puts:
        kept.put((None, None, name), (b"x" * length,))
        found = [len(piece) for one in "abcd" for piece in kept.get((None, None, one)) if isinstance(piece, bytes)]
        assert sum(found) <= 8
        assert kept.get((None, None, name)) == (b"x" * length,)  # the newest is there: it fits


def test_it_is_bounded_by_default() -> None:
    """A process keeps 16 MB."""
    assert KEPT_BYTES == 16 * 1024 * 1024
