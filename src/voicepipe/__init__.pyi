# What type checkers read in place of __init__.py, whose table names the same modules: tests/project/test_lazy_root.py
# compares the two.

from voicepipe import audio
from voicepipe.audio.devices.device import AudioDevice
from voicepipe.audio.devices.microphone import MicSource
from voicepipe.audio.devices.portaudio import devices
from voicepipe.audio.devices.speaker import Speaker
from voicepipe.audio.echo_canceller import EchoCanceller
from voicepipe.audio.output import ClockedOutput, Output, PullOutput
from voicepipe.audio.remote.paced import PacedOutput, PacingStatistics
from voicepipe.audio.source import PushSource, Source
from voicepipe.audio.wav import WavOutput, WavSource, read_wav, write_wav
from voicepipe.call_events import CallMoved, CallResumed, StoreBack, StoreFailed
from voicepipe.conversation.turn import Turn
from voicepipe.conversation.turn_state import TurnState
from voicepipe.core.call_settings import CallSettings
from voicepipe.core.channel import Channel, ChannelStatistics, Inbox, Outbox
from voicepipe.core.context import CallRecord
from voicepipe.core.log import Personal
from voicepipe.core.observer import Observer
from voicepipe.core.part import Part
from voicepipe.core.stage import SessionStage, Stage, stage
from voicepipe.core.transfer import Transfer
from voicepipe.errors import (
    AudioDeviceError,
    AudioDeviceLost,
    AudioError,
    AuthenticationError,
    ConfigurationError,
    IncompleteReply,
    LeaseRevoked,
    MissingExtra,
    RateLimited,
    RecordingError,
    SnapshotError,
    StageError,
    StoreError,
    StructuredOutputError,
    ToolError,
    ToolRetry,
    VendorError,
    VoicepipeError,
    WorkerError,
)
from voicepipe.events import (
    CleanupOverran,
    Event,
    SentenceStarted,
    StructuredDone,
    StructuredFailed,
    ToolFinished,
    ToolStarted,
    TurnCompleted,
    TurnEmpty,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
    TurnStarted,
    UtteranceEnded,
    VoiceTooSlow,
)
from voicepipe.floor_events import (
    Backchannel,
    CallLimit,
    Idle,
    Monologue,
    MonologueCut,
    Paused,
    Released,
    Resumed,
    Withheld,
)
from voicepipe.flow import (
    AudioFrame,
    Digit,
    EarlyTranscript,
    Hearing,
    ReplyEnd,
    ReplyState,
    Sentence,
    SpeechEnded,
    SpeechStarted,
    TextDelta,
    ToolCallDelta,
    Transcript,
    Word,
    Wording,
    WordMark,
)
from voicepipe.hearing.detector import Detector
from voicepipe.hearing.stt import Recogniser, STTStage
from voicepipe.hearing.utterance_recogniser import UtteranceRecogniser
from voicepipe.hearing.utterances import Utterance
from voicepipe.history import AssistantMessage, History, Message, ServiceState, ToolCall, UserMessage
from voicepipe.hosted.agent import SpeechToSpeech
from voicepipe.keeping.memory import MemoryStore
from voicepipe.keeping.redis_store import RedisStore
from voicepipe.keeping.store import Kept, Store
from voicepipe.listening_events import (
    AgentLost,
    AgentRestored,
    AudioDropped,
    AudioResumed,
    AudioStopped,
    DetectorMissing,
    EchoIgnored,
    MicrophoneLost,
    RecogniserBehind,
    RecogniserLost,
)
from voicepipe.model.first_of import FirstOf
from voicepipe.model.hedge import Hedge
from voicepipe.model.model import Completion, Model, ReplyPart, Request
from voicepipe.model.question import structured
from voicepipe.model.structured_stage import Structured
from voicepipe.model.tool_router import ToolRouter
from voicepipe.model.window import Window
from voicepipe.model_events import (
    HedgeStarted,
    ModelAnswered,
    ModelUsage,
    RateLimitNear,
    ReplyCut,
    RequestRetried,
    Summarised,
    SummaryFailed,
)
from voicepipe.observed import Exchange, PlayedAudio, WireMessage
from voicepipe.session.pipeline import Host, Pipeline, run
from voicepipe.session.saying import Said, Saying
from voicepipe.session.session import Session
from voicepipe.speaking.cached_openers import CachedOpeners
from voicepipe.speaking.prepared import PreparedAudio
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.text.chunker import SentenceChunker
from voicepipe.text.sentences import SentenceSplitter
from voicepipe.text.speakable import Speakable
from voicepipe.timeline import Timeline
from voicepipe.tool_events import ToolsChanged, ToolServerLost
from voicepipe.tools.tool import Tool, ToolContext, tool
from voicepipe.tools.toolbox import Toolbox
from voicepipe.turntaking.expectation import Date, Digits, Email, Expectation, Pattern, Phone
from voicepipe.turntaking.rules import TurnRules
from voicepipe.vendors.assemblyai.agent import HostedVoiceAgent
from voicepipe.vendors.assemblyai.parameters import StreamingParameters
from voicepipe.vendors.assemblyai.stt import AssemblyAIRecogniser
from voicepipe.vendors.assemblyai.tts import AssemblyAITTS
from voicepipe.vendors.cartesia.tts import CartesiaTTS
from voicepipe.vendors.deepgram.flux import DeepgramFluxRecogniser
from voicepipe.vendors.deepgram.nova import DeepgramRecogniser
from voicepipe.vendors.deepgram.parameters import FluxParameters, NovaParameters
from voicepipe.vendors.detectors.earshot import EarshotDetector
from voicepipe.vendors.detectors.silero import SileroDetector
from voicepipe.vendors.detectors.webrtc import WebRTCDetector
from voicepipe.vendors.elevenlabs.tts import ElevenLabsTTS
from voicepipe.vendors.espeak.tts import EspeakTTS
from voicepipe.vendors.mcp.toolbox import mcp_tools
from voicepipe.vendors.openai.chat import Deadlines, LLMStreamStage
from voicepipe.vendors.openai.realtime import OpenAIRealtimeAgent
from voicepipe.vendors.openai.speech import OpenAITTS
from voicepipe.vendors.openai.transcription import OpenAIRecogniser
from voicepipe.vendors.piper.tts import PiperTTS
from voicepipe.vendors.pocketsphinx.recogniser import PocketsphinxRecogniser
from voicepipe.vendors.pydantic_ai.model import PydanticAIModel
from voicepipe.vendors.webrtc.echo_canceller import WebRTCEchoCanceller
from voicepipe.vendors.whisper.recogniser import WhisperRecogniser
from voicepipe.watching.budget import LatencyBudget
from voicepipe.watching.recording.recorder import Recorder
from voicepipe.watching.telemetry.otel import OpenTelemetry
from voicepipe.watching.telemetry.prometheus import PrometheusMetrics
from voicepipe.watching_events import (
    BudgetExceeded,
    ObserverFailed,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
)

__all__ = [
    "AgentLost",
    "AgentRestored",
    "AssemblyAIRecogniser",
    "AssemblyAITTS",
    "AssistantMessage",
    "AudioDevice",
    "AudioDeviceError",
    "AudioDeviceLost",
    "AudioDropped",
    "AudioError",
    "AudioFrame",
    "AudioResumed",
    "AudioStopped",
    "AuthenticationError",
    "Backchannel",
    "BudgetExceeded",
    "CachedOpeners",
    "CallLimit",
    "CallMoved",
    "CallRecord",
    "CallResumed",
    "CallSettings",
    "CartesiaTTS",
    "Channel",
    "ChannelStatistics",
    "CleanupOverran",
    "ClockedOutput",
    "Completion",
    "ConfigurationError",
    "Date",
    "Deadlines",
    "DeepgramFluxRecogniser",
    "DeepgramRecogniser",
    "Detector",
    "DetectorMissing",
    "Digit",
    "Digits",
    "EarlyTranscript",
    "EarshotDetector",
    "EchoCanceller",
    "EchoIgnored",
    "ElevenLabsTTS",
    "Email",
    "EspeakTTS",
    "Event",
    "Exchange",
    "Expectation",
    "FirstOf",
    "FluxParameters",
    "Hearing",
    "Hedge",
    "HedgeStarted",
    "History",
    "Host",
    "HostedVoiceAgent",
    "Idle",
    "Inbox",
    "IncompleteReply",
    "Kept",
    "LLMStreamStage",
    "LatencyBudget",
    "LeaseRevoked",
    "MemoryStore",
    "Message",
    "MicSource",
    "MicrophoneLost",
    "MissingExtra",
    "Model",
    "ModelAnswered",
    "ModelUsage",
    "Monologue",
    "MonologueCut",
    "NovaParameters",
    "Observer",
    "ObserverFailed",
    "OpenAIRealtimeAgent",
    "OpenAIRecogniser",
    "OpenAITTS",
    "OpenTelemetry",
    "Outbox",
    "Output",
    "PacedOutput",
    "PacingStatistics",
    "Part",
    "Pattern",
    "Paused",
    "Personal",
    "Phone",
    "Pipeline",
    "PiperTTS",
    "PlayedAudio",
    "PocketsphinxRecogniser",
    "PreparedAudio",
    "PrometheusMetrics",
    "PullOutput",
    "PushSource",
    "PydanticAIModel",
    "RateLimitNear",
    "RateLimited",
    "Recogniser",
    "RecogniserBehind",
    "RecogniserLost",
    "Recorder",
    "RecordingError",
    "RecordingPaused",
    "RecordingResumed",
    "RecordingStarted",
    "RecordingStopped",
    "RedisStore",
    "Released",
    "ReplyCut",
    "ReplyEnd",
    "ReplyPart",
    "ReplyState",
    "Request",
    "RequestRetried",
    "Resumed",
    "STTStage",
    "Said",
    "Saying",
    "Sentence",
    "SentenceChunker",
    "SentenceSplitter",
    "SentenceStarted",
    "ServiceState",
    "Session",
    "SessionStage",
    "SileroDetector",
    "SnapshotError",
    "Source",
    "Speakable",
    "Speaker",
    "SpeechEnded",
    "SpeechStarted",
    "SpeechToSpeech",
    "Stage",
    "StageError",
    "Store",
    "StoreBack",
    "StoreError",
    "StoreFailed",
    "StreamingParameters",
    "Structured",
    "StructuredDone",
    "StructuredFailed",
    "StructuredOutputError",
    "Summarised",
    "SummaryFailed",
    "TTSSink",
    "TextDelta",
    "Timeline",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolContext",
    "ToolError",
    "ToolFinished",
    "ToolRetry",
    "ToolRouter",
    "ToolServerLost",
    "ToolStarted",
    "Toolbox",
    "ToolsChanged",
    "Transcript",
    "Transfer",
    "Turn",
    "TurnCompleted",
    "TurnEmpty",
    "TurnEnded",
    "TurnFailed",
    "TurnInterrupted",
    "TurnRules",
    "TurnStarted",
    "TurnState",
    "UserMessage",
    "Utterance",
    "UtteranceEnded",
    "UtteranceRecogniser",
    "VendorError",
    "VoiceTooSlow",
    "VoicepipeError",
    "WavOutput",
    "WavSource",
    "WebRTCDetector",
    "WebRTCEchoCanceller",
    "WhisperRecogniser",
    "Window",
    "WireMessage",
    "Withheld",
    "Word",
    "WordMark",
    "Wording",
    "WorkerError",
    "audio",
    "devices",
    "mcp_tools",
    "read_wav",
    "run",
    "stage",
    "structured",
    "tool",
    "write_wav",
]
