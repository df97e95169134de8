"""The agent's voice over WebRTC: what a page gets, but paced to a track, and without a report of what was played."""

from __future__ import annotations

from voicepipe.serving.page.output import PageOutput

__all__ = ["WebRTCOutput"]


class WebRTCOutput(PageOutput):
    """An output whose peer is a page that hears by WebRTC.

    A browser does not say which samples of a track it has played, so what was heard is known by the clock
    (`heard_by == "clock"`), and `peer_buffer_s` after a frame was sent: the encoder, the way, the browser's jitter
    buffer and its loudspeaker. An interruption is silent after what is in the jitter buffer.
    """

    reports_position = False
    lead_s = 0.04  # two ticks, the output's and the track's, are not in step
    peer_buffer_s = 0.2

    async def clear(self) -> None:
        """Drop what has not left, and ask the page to be silent. See `PacedOutput.clear`."""
        self._peer.discard()
        await super().clear()
