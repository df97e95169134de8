"""One reply of a hosted agent: what it takes, and where it ends."""

from __future__ import annotations

import pytest

from voicepipe.errors import VendorError
from voicepipe.hosted.messages import ReplyCalls, ReplyDone, ReplyText
from voicepipe.hosted.spoken_reply import MAX_CHARACTERS, SpokenReply


@pytest.mark.parametrize("part", [ReplyText("word " * 200), ReplyCalls("c1", "f", "x" * 1_000)])
def test_a_reply_without_an_end_is_ended(part: ReplyText | ReplyCalls) -> None:
    """A service that never stops writing fails the reply, and nothing more of it is kept."""
    reply = SpokenReply("Agent", 24_000)
    for _ in range(1_000):
        reply.add(part)

    *_, done = reply.parts
    assert isinstance(done, ReplyDone)
    assert isinstance(done.error, VendorError)
    assert str(done.error) == f"Agent sent a reply of more than {MAX_CHARACTERS} characters"
    assert len(reply.parts) == MAX_CHARACTERS // 1_000 + 1


def test_what_comes_after_the_end_is_ignored() -> None:
    """Audio and words of a reply that has failed or ended are neither played nor written down."""
    reply = SpokenReply("Agent", 24_000)
    reply.finish(ReplyDone("completed"))
    reply.add(ReplyText("Late."))
    reply.add_audio(bytes(960))

    assert (reply.parts, reply.words.is_empty, reply.is_audio_left) == ([ReplyDone("completed")], True, False)
