"""Voice agents as a pipeline of asyncio stages.

Everything public is here; `voicepipe.testing` holds what tests of applications need. See the README for a first agent.

Rule 1: a module is imported when a name of it is used for the first time, so a program pays only for its own parts.
Rule 2: type checkers read `__init__.pyi`, which imports the same names from the same modules.
"""

import importlib

from voicepipe import audio as audio
from voicepipe.vendors import defaults

defaults.choose()

_MODULE_OF = {
    "AssemblyAIRecogniser": "vendors.assemblyai.stt",
    "AssemblyAITTS": "vendors.assemblyai.tts",
    "AssistantMessage": "history",
    "AudioDevice": "audio.devices.device",
    "AudioDeviceError": "errors",
    "AudioDeviceLost": "errors",
    "AudioDropped": "listening_events",
    "AudioError": "errors",
    "AudioFrame": "flow",
    "AudioResumed": "listening_events",
    "AudioStopped": "listening_events",
    "AuthenticationError": "errors",
    "Backchannel": "floor_events",
    "CachedOpeners": "speaking.cached_openers",
    "CallLimit": "floor_events",
    "CallSettings": "core.call_settings",
    "Channel": "core.channel",
    "ChannelStatistics": "core.channel",
    "CleanupOverran": "events",
    "ClockedOutput": "audio.output",
    "Completion": "model.model",
    "ConfigurationError": "errors",
    "Date": "turntaking.expectation",
    "Deadlines": "vendors.openai.chat",
    "Detector": "hearing.detector",
    "DetectorMissing": "listening_events",
    "Digit": "flow",
    "Digits": "turntaking.expectation",
    "EarlyTranscript": "flow",
    "EarshotDetector": "vendors.detectors.earshot",
    "EchoCanceller": "audio.echo_canceller",
    "EchoIgnored": "listening_events",
    "Email": "turntaking.expectation",
    "EspeakTTS": "vendors.espeak.tts",
    "Event": "events",
    "Expectation": "turntaking.expectation",
    "FirstOf": "model.first_of",
    "Hearing": "flow",
    "Hedge": "model.hedge",
    "HedgeStarted": "events",
    "History": "history",
    "Host": "session.pipeline",
    "Idle": "floor_events",
    "Inbox": "core.channel",
    "IncompleteReply": "errors",
    "LLMStreamStage": "vendors.openai.chat",
    "LeaseRevoked": "errors",
    "Message": "history",
    "MicSource": "audio.devices.microphone",
    "MicrophoneLost": "listening_events",
    "MissingExtra": "errors",
    "Model": "model.model",
    "ModelAnswered": "events",
    "ModelUsage": "events",
    "Monologue": "floor_events",
    "MonologueCut": "floor_events",
    "OpenAITTS": "vendors.openai.speech",
    "Outbox": "core.channel",
    "Output": "audio.output",
    "PacedOutput": "audio.remote.paced",
    "PacingStatistics": "audio.remote.paced",
    "Part": "core.part",
    "Pattern": "turntaking.expectation",
    "Paused": "floor_events",
    "Personal": "core.log",
    "Phone": "turntaking.expectation",
    "Pipeline": "session.pipeline",
    "PocketsphinxRecogniser": "vendors.pocketsphinx.recogniser",
    "PreparedAudio": "speaking.prepared",
    "PullOutput": "audio.output",
    "PushSource": "audio.source",
    "RateLimitNear": "events",
    "RateLimited": "errors",
    "Recogniser": "hearing.stt",
    "RecogniserLost": "listening_events",
    "Released": "floor_events",
    "ReplyCut": "events",
    "ReplyEnd": "flow",
    "ReplyPart": "model.model",
    "ReplyState": "flow",
    "Request": "model.model",
    "RequestRetried": "events",
    "Resumed": "floor_events",
    "STTStage": "hearing.stt",
    "Said": "session.saying",
    "Saying": "session.saying",
    "Sentence": "flow",
    "SentenceChunker": "text.chunker",
    "SentenceSplitter": "text.sentences",
    "SentenceStarted": "events",
    "UtteranceEnded": "events",
    "ServiceState": "history",
    "Session": "session.session",
    "SessionStage": "core.stage",
    "SileroDetector": "vendors.detectors.silero",
    "Source": "audio.source",
    "Speaker": "audio.devices.speaker",
    "SpeechEnded": "flow",
    "SpeechStarted": "flow",
    "Stage": "core.stage",
    "StageError": "errors",
    "StreamingParameters": "vendors.assemblyai.parameters",
    "Structured": "model.structured_stage",
    "StructuredDone": "events",
    "StructuredFailed": "events",
    "StructuredOutputError": "errors",
    "TTSSink": "speaking.tts_sink",
    "TextDelta": "flow",
    "Timeline": "timeline",
    "Tool": "tools.tool",
    "ToolCall": "history",
    "ToolCallDelta": "flow",
    "ToolContext": "tools.tool",
    "ToolError": "errors",
    "ToolFinished": "events",
    "ToolRetry": "errors",
    "ToolRouter": "model.tool_router",
    "ToolStarted": "events",
    "Toolbox": "tools.toolbox",
    "Transcript": "flow",
    "Transfer": "core.transfer",
    "Turn": "conversation.turn",
    "TurnCompleted": "events",
    "TurnEmpty": "events",
    "TurnEnded": "events",
    "TurnFailed": "events",
    "TurnInterrupted": "events",
    "TurnRules": "turntaking.rules",
    "TurnStarted": "events",
    "TurnState": "conversation.turn_state",
    "UserMessage": "history",
    "VendorError": "errors",
    "VoiceTooSlow": "events",
    "VoicepipeError": "errors",
    "WavOutput": "audio.wav",
    "WavSource": "audio.wav",
    "WebRTCDetector": "vendors.detectors.webrtc",
    "WebRTCEchoCanceller": "vendors.webrtc.echo_canceller",
    "Window": "model.window",
    "Withheld": "floor_events",
    "Word": "flow",
    "WordMark": "flow",
    "devices": "audio.devices.portaudio",
    "read_wav": "audio.wav",
    "run": "session.pipeline",
    "stage": "core.stage",
    "structured": "model.question",
    "tool": "tools.tool",
    "write_wav": "audio.wav",
}

__all__ = sorted(["audio", *_MODULE_OF])  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll] - Rule 2


def __getattr__(name: str) -> object:
    """Import a public name (PEP 562), and keep it here.

    Raises:
        AttributeError: It is not a public name.
    """
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return __all__
