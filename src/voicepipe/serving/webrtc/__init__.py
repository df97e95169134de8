"""The agent in a browser over WebRTC: sound in packets, events on a data channel. Needs `voicepipe[webrtc]`."""

from voicepipe.serving.webrtc.ice import IceServer
from voicepipe.serving.webrtc.transport import WebRTC

__all__ = ["IceServer", "WebRTC"]
