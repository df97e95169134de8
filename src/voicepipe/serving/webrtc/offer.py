"""What an offer of WebRTC may contain, checked before the library that answers it sees it.

Rule 1: pure. An offer is a stranger's text until its call has begun, so a refusal repeats nothing of it.
Rule 2: exactly one audio and one data section. Each further one would cost a decoder, and video costs a lot.
"""

from __future__ import annotations

import re
from typing import Final

from voicepipe.serving.transport import Refused

__all__ = ["MEDIA_TYPE", "MOST_BYTES", "checked_offer"]

MEDIA_TYPE: Final = "application/sdp"

MOST_BYTES: Final = 16_384
"""Browsers write 2 to 6 KB."""

MOST_CANDIDATES: Final = 32
"""The server sends a packet to each address that an offer names."""

SECTION: Final = re.compile(r"^m=([a-z]+) ", re.MULTILINE)
CANDIDATE: Final = re.compile(r"^a=candidate:", re.MULTILINE)


def checked_offer(body: bytes) -> str:
    """Return the offer that a body contains.

    Raises:
        Refused: It is too large, no session description, or asks for something else than a call.
    """
    if len(body) > MOST_BYTES:
        raise Refused("size", f"an offer may have at most {MOST_BYTES} bytes", status=413, code=1009)
    try:
        offer = body.decode()
    except UnicodeDecodeError:
        raise malformed("it is not UTF-8") from None
    if not offer.startswith("v=0"):
        raise malformed("it does not begin with v=0")
    if sorted(SECTION.findall(offer)) != ["application", "audio"]:
        raise malformed("it needs one audio section and one data channel, and nothing else")
    if len(CANDIDATE.findall(offer)) > MOST_CANDIDATES:
        raise malformed(f"it names more than {MOST_CANDIDATES} candidates")
    return offer


def malformed(found: str) -> Refused:
    """Return the refusal of an offer."""
    return Refused("malformed", f"the offer cannot be answered: {found}", status=400)
