"""From a source to the frames that a recogniser hears: stamps, late audio, lag, and audio that stops.

Rule 1: nothing here waits for the recogniser, so a source can deliver from a callback.
Rule 2: late audio is no lag. What arrives together is taken whole; only a reader that is slower than speech loses
        audio, the oldest first, and every lost frame is counted.
Rule 3: audio that stops is not silence. For 2 s the recogniser hears nothing of a gap, so that what arrives late is
        heard as if it had come in time; after that it is given the silence that the gap was.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.audio.resample import resampler
from voicepipe.core.abandon import run_abandonably
from voicepipe.core.failures import named
from voicepipe.errors import AudioError, StageError
from voicepipe.flow import AudioFrame
from voicepipe.hearing.reader_lag import WAITING_FRAMES, ReaderLag
from voicepipe.listening_events import AudioDropped, AudioResumed, AudioStopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.audio.echo_path import EchoPath
    from voicepipe.audio.source import Source
    from voicepipe.core.channel import Channel
    from voicepipe.core.context import SessionContext
    from voicepipe.hearing.detecting import Detecting
    from voicepipe.hearing.reports import Reports

__all__ = ["LATE_FRAMES", "WAITING_FRAMES", "Intake"]

LATE_FRAMES: Final = 500
"""Late audio that is taken whole: 10 s, as after a gap of a mobile network."""

SPEECH_ENDS_S: Final = 0.1
"""Without audio for so long, speech counts as ended for interruptions: five frames that did not come."""

NO_GAP_S: Final = 0.05
"""Pieces that come within this time have no gap between them, which saves a look at what is usual."""

SILENCE_S: Final = 2.0
"""Without audio for so long, the recogniser is given silence, and the application an `AudioStopped`."""

SILENT_FOR_S: Final = 10.0
"""Of a gap so much is given as silence: more than any recogniser waits for. A call that is held costs nothing."""

SILENCE_STEP_S: Final = 0.1
"""From then on silence is given in steps of this length: a wake-up for each frame would cost as much as speech."""

STOOD_STILL_S: Final = 0.05
"""A timer that fires later than this says that the loop stood still, not that no audio came: it waits to be read."""

CLOCK_SLIP_S: Final = 0.1
"""A source's samples are its clock, until it differs from the loop's by this much: then audio is missing."""

REPORT_DROPPED_S: Final = 0.1
"""Dropped audio is reported once it amounts to this much, so that a lag does not flood the application."""

LONGEST_PIECE_S: Final = 1.0
"""Sources may give so much audio at a time, and nothing until the next piece."""

TOGETHER_S: Final = 0.005
"""Pieces that come within this time came together, as one message of a transport does."""

NEVER_S: Final = -math.inf
EXACT_S: Final = 1e-6
"""Times within this are the same: they are sums of frame lengths."""


class Intake:
    """Takes one source's audio, and never waits for the reader of its frames.

    Args:
        session: The session; it emits dropped audio and gaps.
        source: Whose audio it is.
        rate: Samples per second of the frames.
        outbox: Takes the frames; needs room for `WAITING_FRAMES + LATE_FRAMES`.
        reports: Where the recogniser reports what it heard.
        is_deaf: Whether silence is heard at a moment in place of what the source gives; None for never.
        detecting: Looks at each frame when it arrives; None if there is no detector.
        echo_path: Takes the agent's echo out of the frames; None without echo cancellation.
    """

    def __init__(
        self,
        session: SessionContext,
        source: Source,
        rate: int,
        outbox: Channel[AudioFrame],
        reports: Reports,
        is_deaf: Callable[[float], bool] | None,
        detecting: Detecting | None = None,
        echo_path: EchoPath | None = None,
    ) -> None:
        self._session = session
        watch = session.watch
        self._observers = watch if watch is not None and watch.wants_heard else None
        self._source = source
        self._rate = rate
        self._outbox = outbox
        self._reports = reports
        self._is_deaf = is_deaf
        self._detecting = detecting
        self._echo_path = echo_path
        if echo_path is not None:
            echo_path.begin(rate)
        self._resampler = resampler(source.sample_rate, rate, source.name, "the recogniser")
        self._is_passed_on = self._resampler is None and echo_path is None and is_deaf is None  # as it comes
        self._bytes_per_s = 2 * rate
        self._frame_bytes = 2 * int(FRAME_S * rate)
        self._rest = b""
        self._held: list[bytes] = []  # audio after a gap, until it is known how much of it has arrived together
        self._held_at_s: float | None = None  # when it begins, if the source knows
        self._next_s = NEVER_S  # time of the next frame's first sample
        self._loop = asyncio.get_running_loop()
        self._came_s = self._expected_s = self._loop.time()  # when audio came last; since when more is expected
        self._intervals_s: deque[float] = deque(maxlen=4)  # between the newest arrivals
        self._end_s = self._came_s  # where the audio ended
        self._is_silent = False  # the recogniser is being given silence
        self._silence_due_s = math.inf
        self._gap_s: float | None = None  # how long the gap was that has just ended
        self._reader = ReaderLag()
        self._dropped_frames = 0
        self._reported_s = 0.0
        self._news = anyio.Event()
        self._timer: asyncio.TimerHandle | None = None
        reports.listen_to(lambda: self.stopped_s, self.look_again)

    async def run(self) -> None:
        """Take in the source's audio until the caller hangs up."""
        name = self._source.name
        with named(name):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, name=f"voicepipe {name} gaps")
                if self._source._is_ours:
                    await self._source.pump(self)
                else:
                    await run_abandonably(self._source.pump, self, name=name, report=self._session.emit)
                tasks.cancel_scope.cancel()
            await self._hang_up()
        self._outbox.close()  # not after an error, which is no hang-up

    # --- audio comes --------------------------------------------------------------------------------------------------

    def __call__(self, pcm: object, at_s: float | None = None) -> None:
        """Take a piece of audio, of any length. Never waits.

        Args:
            pcm: The audio.
            at_s: When its first sample was spoken, if the source knows; otherwise it was spoken just now.

        Raises:
            AudioError: The bytes are no whole samples.
        """
        if self._outbox.is_abandoned:
            return  # the recogniser reported that the caller hung up
        if not isinstance(pcm, bytes):
            pcm = self._copied(pcm)
        if len(pcm) % 2:
            raise AudioError(f"{self._source.name} must give whole 16-bit samples, not {len(pcm)} bytes")
        now = self._loop.time()
        if self._resampler is not None:
            pcm = self._resampler.feed(pcm)
        apart_s = now - self._came_s
        if apart_s > NO_GAP_S and now >= self._speech_ends_s:
            self._gap_s = apart_s
        if apart_s > TOGETHER_S and self._next_s > NEVER_S:
            self._intervals_s.append(apart_s)
        self._came_s = self._expected_s = now
        begins_s = now - len(pcm) / self._bytes_per_s if at_s is None else min(at_s, now)
        late_s = begins_s - len(self._rest) / self._bytes_per_s - self._next_s
        if self._held or self._is_silent or (at_s is None and late_s > CLOCK_SLIP_S):
            # One step of the loop later all that was late has come, and can be given the time when it was spoken.
            if not self._held:
                self._held_at_s = at_s
            self._held.append(pcm)
            self._news.set()
            return
        is_frame = len(pcm) == self._frame_bytes and not self._rest and self._is_passed_on
        if is_frame and abs(late_s) <= CLOCK_SLIP_S and not self._outbox.queued and not self._source.dropped_s:
            # The usual case, 50 times a second in each call: the next frame, for a reader that waits for it.
            self._reader.has_read(now)
            self._send_frame(pcm)
            self._end_s = self._next_s
        else:
            self._take(pcm, now, at_s)
        if self._gap_s is not None:
            self._news.set()

    def _copied(self, pcm: object) -> bytes:
        """Return audio that the source may overwrite."""
        if not isinstance(pcm, (bytearray, memoryview)):
            found = f"{self._source.name} must give bytes of PCM, not {type(pcm).__name__}"
            raise StageError(found, part=self._source.name)
        return bytes(pcm)

    async def _hang_up(self) -> None:
        """Send what is left, of late audio, of the last frame and in the resampler; speech ends here."""
        self._release(self._loop.time())
        if self._outbox.is_abandoned:
            return
        self._send_rest()
        if self._detecting is not None:
            self._detecting.hang_up()
            with suppress(anyio.BrokenResourceError):  # nobody wants to know any more
                await self._report_detected(self._detecting)

    def _take(self, pcm: bytes, now: float, at_s: float | None) -> None:
        begins_s = now - len(pcm) / self._bytes_per_s if at_s is None else min(at_s, now)
        begins_s -= len(self._rest) / self._bytes_per_s
        pcm = self._rest + pcm
        if abs(begins_s - self._next_s) > CLOCK_SLIP_S:
            self._next_s = begins_s
        frames = frames_of(pcm, self._rate)
        self._rest = frames.pop() if frames and len(frames[-1]) < self._frame_bytes else b""
        self._send(frames, now)
        self._end_s = self._next_s + len(self._rest) / self._bytes_per_s

    def _release(self, now: float) -> None:
        """Send the audio that was held after a gap."""
        if self._held:
            held, self._held = b"".join(self._held), []
            self._take(held, now, self._held_at_s)

    def _send(self, frames: list[bytes], now: float) -> None:
        if self._outbox.is_abandoned:
            return
        if self._echo_path is not None:
            frames = self._echo_path.cleaned(frames, self._next_s, now)
            if self._echo_path.has_failed:
                self._news.set()
        if self._is_deaf is not None and self._is_deaf(now):  # but the echo canceller learns from what is not heard
            frames = [bytes(len(frame)) for frame in frames]
        for _ in range(self._reader.excess(self._outbox.queued, now)):
            self._outbox.receive_nowait()
            self._dropped_frames += 1
        for pcm in frames:
            self._send_frame(pcm)
        self._reader.left(self._outbox.queued)
        self._report_dropped()

    def _send_frame(self, pcm: bytes) -> None:
        frame = AudioFrame(pcm=pcm, sample_rate=self._rate, start_s=self._next_s)
        self._next_s += len(pcm) / self._bytes_per_s
        self._outbox.send_latest(frame)
        if self._observers is not None:
            self._observers.heard(frame)
        if self._detecting is not None and self._detecting.feed(frame):
            self._news.set()

    def _send_rest(self) -> None:
        rest = self._rest + (self._resampler.flush() if self._resampler is not None else b"")
        self._rest = b""
        self._send(frames_of(rest, self._rate), self._loop.time())

    def _report_dropped(self) -> None:
        dropped_s = self._source.dropped_s + (self._dropped_frames + self._outbox.dropped) * FRAME_S
        if dropped_s >= self._reported_s + REPORT_DROPPED_S:
            self._session.emit(AudioDropped(seconds=dropped_s - self._reported_s))
            self._reported_s = dropped_s

    # --- audio stops --------------------------------------------------------------------------------------------------

    @property
    def stopped_s(self) -> float | None:
        """Where the audio ended, if speech counts as ended because none has come since."""
        return self._end_s if self._loop.time() >= self._speech_ends_s else None

    @property
    def _speech_ends_s(self) -> float:
        # A source that gives a second at a time does not stop between two.
        usual_s = min(self._intervals_s) if len(self._intervals_s) > 1 else 0.0
        return self._expected_s + SPEECH_ENDS_S + max(0.0, min(usual_s, LONGEST_PIECE_S) - FRAME_S) - EXACT_S

    @property
    def _silence_begins_s(self) -> float:
        return self._expected_s + SILENCE_S - EXACT_S

    def look_again(self) -> None:
        """Speech has begun: notice soon when the audio stops."""
        self._news.set()

    async def _watch(self) -> None:
        """Do what is due when audio stops and when it comes back, until cancelled."""
        try:
            while not self._outbox.is_abandoned:
                self._news = anyio.Event()
                if self._has_news:  # since the last look
                    self._news.set()
                self._set_timer()
                await self._news.wait()
                await self._look(self._loop.time())
                if self._echo_path is not None:
                    self._echo_path.check()
                if self._detecting is not None:
                    await self._report_detected(self._detecting)
        except anyio.BrokenResourceError:
            return  # nobody wants to know any more
        finally:
            self._stop_timer()

    @property
    def _has_news(self) -> bool:
        if self._held or self._gap_s is not None or (self._echo_path is not None and self._echo_path.has_failed):
            return True
        return self._detecting is not None and self._detecting.has_news

    def _set_timer(self) -> None:
        """Wake `_watch` when something is due. As long as audio comes that is put off, which wakes nobody."""
        self._stop_timer()
        if (due_s := self._due_s) < math.inf:
            self._timer = self._loop.call_at(due_s, self._on_timer, due_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self, due_s: float) -> None:
        now = self._loop.time()
        if now - due_s > STOOD_STILL_S:
            self._expected_s = now
        if now < self._due_s:
            self._set_timer()
        else:
            self._news.set()

    @property
    def _due_s(self) -> float:
        if self._is_silent:
            return self._silence_due_s
        # While nobody speaks a gap may be noticed late: a timer every 0.1 s would cost a tenth of what the frames do.
        return (self._speech_ends_s if self._reports.is_speech else self._silence_begins_s) + EXACT_S

    async def _look(self, now: float) -> None:
        if self._gap_s is not None or self._held:
            self._release(now)
            gap_s, self._gap_s = self._gap_s, None
            if self._is_silent:
                self._is_silent = False
                self._session.emit(AudioResumed(after_s=gap_s or 0.0))
            await self._reports.audio_resumed(now)
            return
        if (ended_s := self.stopped_s) is not None:
            await self._reports.audio_stopped(ended_s)
        if self._is_silent or now >= self._silence_begins_s:
            self._reports.silenced()
            self._give_silence(now)

    async def _report_detected(self, detecting: Detecting) -> None:
        """Pass on what the detector has found, or raise what it raised."""
        detecting.check()
        await self._reports.detected(detecting.take())

    def _give_silence(self, now: float) -> None:
        """Let the recogniser hear what the gap was so far."""
        if not self._is_silent:
            self._is_silent = True
            self._session.emit(AudioStopped(at_s=self._end_s))
            self._send_rest()
        if self._next_s == NEVER_S or now >= self._end_s + SILENT_FOR_S:  # what was said, if anything, is over
            self._silence_due_s = math.inf
        else:
            self._silence_due_s = now + SILENCE_STEP_S
            self._fill(now)

    def _fill(self, now: float) -> None:
        # Silence must not push audio out of the queue: a reader that is still busy with it gets the silence later.
        if self._outbox.queued <= WAITING_FRAMES:
            self._next_s = max(self._next_s, now - SILENCE_S)  # it has waited for the reader
            count = int((now - self._next_s + EXACT_S) / (self._frame_bytes / self._bytes_per_s))
            self._send([bytes(self._frame_bytes)] * count, now)
