"""Server-sent events, without a network; events of a body are in `test_client.py`."""

from __future__ import annotations

import itertools

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.http.event_stream import EventStream

LINES = st.sampled_from(
    [
        "data: one",
        "data:two",
        "data:  three",
        "data",
        "data:",
        ": a note",
        "event: error",
        "event:",
        "id: 3",
        "other: x",
    ]
)
TEXT = st.lists(st.tuples(LINES | st.text(max_size=5), st.sampled_from(["\n", "\r\n", "\r", "\n\n"])).map("".join)).map(
    "".join
)


@given(TEXT, st.data())
def test_a_body_may_be_cut_anywhere(text: str, data: st.DataObject) -> None:
    """Whatever the body and its pieces, the events are those that httpx-sse finds in the whole."""
    body = text.encode("utf-8", "replace")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=10)))
    pieces = [body[start:end] for start, end in itertools.pairwise([0, *cuts, len(body)])]
    stream = EventStream()
    found = [event for piece in pieces for event in stream.feed(piece)]

    whole = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    assert found == [(event.data, event.event) for event in EventSource(whole).iter_sse() if event.data]


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        pytest.param([b"data: a\r", b"\r"], [[], [("a", "message")]], id="returns alone"),
        pytest.param(
            [b"data: a\r", b"\n\r", b"\ndata: b\n\n"], [[], [("a", "message")], [("b", "message")]], id="both"
        ),
        pytest.param([b"data: a\r", b"", b"\ndata: b\n\n"], [[], [], [("a\nb", "message")]], id="nothing between"),
        pytest.param([b"data: a\n\ndata: b\n", b"\n"], [[("a", "message")], [("b", "message")]], id="one and a half"),
        pytest.param([b"data: \xff\xe2\x82\n\n"], [[("\ufffd\ufffd", "message")]], id="broken UTF-8"),
        pytest.param([b"event: ping\n\ndata: a\n\n"], [[("a", "message")]], id="a name without data"),
    ],
)
def test_an_event_goes_out_with_the_byte_that_ends_it(pieces: list[bytes], found: list[list[tuple[str, str]]]) -> None:
    """An event does not wait for what follows it, also where a lone return may be half of a line's end."""
    stream = EventStream()
    assert [stream.feed(piece) for piece in pieces] == found
