"""One reply of a hosted agent, as it comes: its words and calls for the model's place, its audio for the voice's.

Rule 1: nothing here waits but for news; the conversation puts in what the service sends, in the order in which it came.
Rule 2: a reply is promised before it begins, so that a turn has something to wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import anyio

from voicepipe.errors import VendorError
from voicepipe.hosted.messages import ReplyCalls, ReplyDone, ReplyText
from voicepipe.hosted.spoken_words import SpokenWords

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn

__all__ = ["SpokenReply"]

BEGIN_S: Final = 10.0
"""How long a reply may take to begin. Replies of AssemblyAI were seen to take 4.5 s from far away."""

NEWS_S: Final = 10.0
"""How long a reply that has begun may bring nothing."""

CALLS_S: Final = 1.0
"""How long a reply that has called tools may bring nothing else. It then counts as ended here: a service may wait for
the results before it goes on."""

MAX_CHARACTERS: Final = 64 * 1024
"""Words and calls of one reply. A model's place takes no more than a part of it; see `model.calling_reply`."""

MAX_AUDIO_S: Final = 300.0
"""Audio of one reply: nobody listens for longer, and at 24 kHz it takes 14 MB."""

State = Literal["promised", "begun", "over"]


class SpokenReply:
    """One reply.

    Args:
        agent: The agent's name, for messages.
        rate: Samples per second of its audio.
        tag: Names it to the service; "" for one that nobody has asked for.
        is_requested: Whether a request of ours asks for it, and not the caller's voice.

    Attributes:
        agent: The agent's name.
        reply_id: The service's id; "" until it begins, and where there is none.
        state: How far the service has come with it.
        parts: Its words, calls and end, in the order in which they came.
        words: The words that were not played yet.
        turn: The turn that it is spoken in; None as long as none has taken it.
        began_at_s: Where in the turn's audio it begins; None as long as nothing of it is played.
        is_unwanted: Whether nothing more of it is played.
        is_played: Whether all of its audio was given to the output.
        has_paused: Whether it counts as ended because it waits for the results of its calls; the service may go on with
            it.
    """

    def __init__(self, agent: str, rate: int, tag: str = "", *, is_requested: bool = False) -> None:
        self.agent = agent
        self.tag = tag
        self.reply_id = ""
        self.is_requested = is_requested
        self.state: State = "promised"
        self.parts: list[ReplyText | ReplyCalls | ReplyDone] = []
        self.words = SpokenWords()
        self.turn: Turn | None = None
        self.began_at_s: float | None = None
        self.is_unwanted = False
        self.is_played = False
        self.has_paused = False
        self._rate = rate
        self._audio = bytearray()
        self._taken = 0
        self._audio_bytes = 0
        self._characters = 0
        self._news = anyio.Event()

    # --- what the service sends ---------------------------------------------------------------------------------------

    def begin(self, reply_id: str) -> None:
        """Note that the service has begun it."""
        self.reply_id, self.state = reply_id, "begun"
        self._changed()

    def add_audio(self, pcm: bytes) -> None:
        """Take audio in; what comes after the end is ignored."""
        if self.is_over:
            return
        if self._audio_bytes + len(pcm) > MAX_AUDIO_S * self._rate * 2:
            self.fail(self._error(f"sent a reply of more than {MAX_AUDIO_S:g} s", retryable=False))
            return
        self._audio += pcm
        self._audio_bytes += len(pcm)
        self._changed()

    def add(self, part: ReplyText | ReplyCalls) -> None:
        """Take words or a call in; what comes after the end is ignored."""
        if self.is_over:
            return
        self._characters += len(part.text) if isinstance(part, ReplyText) else len(part.arguments)
        if self._characters > MAX_CHARACTERS:
            self.fail(self._error(f"sent a reply of more than {MAX_CHARACTERS} characters", retryable=False))
            return
        self.parts.append(part)
        if isinstance(part, ReplyText):
            self.words.add(part.text, part.start_s, part.end_s, self.audio_s)
        self._changed()

    def finish(self, done: ReplyDone) -> None:
        """Note how it ended; what comes later is ignored."""
        if self.state != "over":
            self.state = "over"
            self.parts.append(done)
            self._changed()

    def fail(self, error: VendorError) -> None:
        """Note that the rest will not come."""
        self.finish(ReplyDone("failed", error=error))

    def _changed(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    # --- what is done with it -----------------------------------------------------------------------------------------

    @property
    def audio_s(self) -> float:
        """Seconds of audio that have come."""
        return self._audio_bytes / 2 / self._rate

    @property
    def taken_s(self) -> float:
        """Seconds of audio that were taken to be played."""
        return self._taken / 2 / self._rate

    @property
    def is_over(self) -> bool:
        """Whether the service has ended it."""
        return self.state == "over"

    @property
    def was_interrupted(self) -> bool:
        """Whether the service has stopped it for the caller."""
        return bool(self.parts) and isinstance(done := self.parts[-1], ReplyDone) and done.status == "interrupted"

    @property
    def has_called(self) -> bool:
        """Whether the newest thing but audio that came is a call."""
        return bool(self.parts) and isinstance(self.parts[-1], ReplyCalls)

    def has_audio(self, size: int) -> bool:
        """Whether so many bytes wait to be played, or all that will come."""
        return len(self._audio) >= size or (self.is_over and bool(self._audio))

    def take(self, size: int) -> bytes:
        """Take audio of at most so many bytes; b"" if none waits."""
        pcm = bytes(self._audio[:size])
        del self._audio[: len(pcm)]
        self._taken += len(pcm)
        return pcm

    @property
    def is_audio_left(self) -> bool:
        """Whether audio waits to be played."""
        return bool(self._audio)

    def stop(self) -> None:
        """Drop what was not played, and what may still come."""
        self.is_unwanted = True
        self._audio.clear()
        self._changed()

    async def wait_news(self) -> None:
        """Wait until something happens to it. A reply that stands still ends here.

        A promise that is not kept fails, so does a reply that breaks off; after its calls a reply is complete.
        """
        news, has_called = self._news, self.has_called
        limit_s = BEGIN_S if self.state == "promised" else CALLS_S if has_called else NEWS_S
        with anyio.move_on_after(limit_s) as limit:
            await news.wait()
        if not limit.cancelled_caught or self._news is not news:
            return
        if has_called:
            self.has_paused = True
            self.finish(ReplyDone("completed", "tool_calls"))
        elif self.state == "promised":
            self.fail(self._error(f"did not begin a reply within {BEGIN_S:g} s"))
        else:
            self.fail(self._error(f"sent nothing more of its reply for {NEWS_S:g} s"))

    def _error(self, what: str, *, retryable: bool = True) -> VendorError:
        return VendorError(f"{self.agent} {what}", vendor=self.agent, retryable=retryable)

    def __repr__(self) -> str:
        """Show how far it has come."""
        return f"<SpokenReply {self.reply_id or self.tag} {self.state} {self.taken_s:.2f}/{self.audio_s:.2f}s>"
