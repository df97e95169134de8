"""A recorded call as a test: held again with the application as it is today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicepipe.watching.replay import Replay, load_call

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from voicepipe.session.pipeline import Pipeline
    from voicepipe.watching.recording import Recording
    from voicepipe.watching.replay import LivePart, Replayed

__all__ = ["cassette"]


async def cassette(
    recording: Recording | str | Path,
    agent: Pipeline[Any] | None = None,
    *,
    live: Iterable[LivePart] = (),
    deps: object = None,
) -> Replayed:
    """Hold a recorded call again, and return what became of it.

        call = await cassette("tests/calls/tuesday.vprec", agent, live=["tools"])
        call.assert_same()

    On virtual time that takes milliseconds. A live part that needs a network or a thread belongs in real time.

    Args:
        recording: The recording, or its directory.
        agent: The application, whose stages, tools, settings and live parts take part; None for recorded parts alone.
        live: Which of its parts are at work: "recogniser", "model", "tools", "voice". The others are recorded.
        deps: What the application's tools and stages get as their deps.

    Raises:
        RecordingError: There is no such recording, it is damaged, or a newer voicepipe wrote it.
        ReplayError: The application does not fit the recording, or the recording lacks what a live part needs.
        VoicepipeError: A live part failed.
    """
    return await Replay(load_call(recording), agent, live=live, deps=deps).run()
