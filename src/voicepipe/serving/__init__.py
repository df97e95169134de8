"""A server for an agent: a page, telephone numbers, clients of the Realtime protocol. Needs `voicepipe[server]`."""

from voicepipe.errors import MissingExtra

try:
    from voicepipe.serving.serve import Serve
except ImportError as error:
    package = (error.name or "").partition(".")[0]
    if package not in ("starlette", "prometheus_client"):
        raise
    raise MissingExtra("voicepipe.serving", package, "server") from error

from voicepipe.serving.audiosocket import AudioSocket
from voicepipe.serving.limits import Limits
from voicepipe.serving.page.transport import Page
from voicepipe.serving.plivo import Plivo
from voicepipe.serving.realtime import Realtime
from voicepipe.serving.telnyx import Telnyx
from voicepipe.serving.transport import Line, Peer, PeerLeft, Refused, Resumption, Transport
from voicepipe.serving.twilio import Twilio
from voicepipe.serving.vonage import Vonage
from voicepipe.serving.webrtc import IceServer, WebRTC

__all__ = [
    "AudioSocket",
    "IceServer",
    "Limits",
    "Line",
    "Page",
    "Peer",
    "PeerLeft",
    "Plivo",
    "Realtime",
    "Refused",
    "Resumption",
    "Serve",
    "Telnyx",
    "Transport",
    "Twilio",
    "Vonage",
    "WebRTC",
]
