"""What an offer of WebRTC may contain, checked before the library that answers it sees it.

Rule 1: pure. An offer is a stranger's text until its call has begun, so a refusal repeats nothing of it.
Rule 2: exactly one audio and one data section. Each further one would cost a decoder, and video costs a lot.
Rule 3: the addresses in an offer are hints. The browser looks for the server by itself, so the search ends when its
        time is over, and not after these addresses.
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

NO_HINT: Final = re.compile(
    r"^a=(?:end-of-candidates|candidate:\S+ \S+ \S+ \S+ \S+\.local )[^\r\n]*(?:\r?\n|\Z)", re.MULTILINE
)
"""Names under which a browser hides its addresses: only its own network can resolve them. And the end of the list,
after which aiortc gives up at once if none of them can be reached."""


def checked_offer(body: bytes) -> str:
    """Return the offer that a body contains, without what is no hint at an address.

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
    return NO_HINT.sub("", offer)


def malformed(found: str) -> Refused:
    """Return the refusal of an offer."""
    return Refused("malformed", f"the offer cannot be answered: {found}", status=400)
