"""Voice agents as a pipeline of asyncio stages.

Everything public is here; `voicepipe.testing` holds what tests of applications need. See the README for a first agent.
"""

from voicepipe import audio
from voicepipe._policy import TurnRules
from voicepipe._window import Window
from voicepipe.audio._portaudio import devices
from voicepipe.audio.devices import AudioDevice
from voicepipe.audio.microphone import MicSource
from voicepipe.audio.output import ClockedOutput, Output, PullOutput
from voicepipe.audio.paced import PacedOutput, PacingStatistics
from voicepipe.audio.source import PushSource, Source
from voicepipe.audio.speaker import Speaker
from voicepipe.audio.wav import WavOutput, WavSource, read_wav, write_wav
from voicepipe.channel import Channel, ChannelStatistics, Inbox, Outbox
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
    StageError,
    StructuredOutputError,
    ToolError,
    ToolRetry,
    VendorError,
    VoicepipeError,
)
from voicepipe.events import (
    AudioDropped,
    AudioFrame,
    CleanupOverran,
    EarlyTranscript,
    EchoIgnored,
    Event,
    Hearing,
    MicrophoneLost,
    ModelUsage,
    RateLimitNear,
    RecogniserLost,
    ReplyEnd,
    RequestRetried,
    Sentence,
    SentenceStarted,
    SpeechEnded,
    SpeechStarted,
    StructuredDone,
    StructuredFailed,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolStarted,
    Transcript,
    TurnCompleted,
    TurnEmpty,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
    TurnStarted,
    Word,
    WordMark,
)
from voicepipe.history import AssistantMessage, History, Message, ToolCall, UserMessage
from voicepipe.part import Part
from voicepipe.pipeline import Host, Pipeline, run
from voicepipe.sentences import SentenceSplitter
from voicepipe.session import Session
from voicepipe.stage import SessionStage, Stage, stage
from voicepipe.stages.llm_stream import Deadlines, LLMStreamStage
from voicepipe.stages.model import Completion, Model, ReplyPart, Request
from voicepipe.stages.sentence_chunker import SentenceChunker
from voicepipe.stages.structured import Structured
from voicepipe.stages.stt import Recogniser, STTStage
from voicepipe.stages.tool_router import ToolRouter
from voicepipe.stages.tts_sink import TTSSink
from voicepipe.structured import structured
from voicepipe.timeline import Timeline
from voicepipe.toolbox import Toolbox
from voicepipe.tools import Tool, ToolContext, tool
from voicepipe.turn import Turn, TurnState
from voicepipe.vendors.assemblyai.parameters import StreamingParameters
from voicepipe.vendors.assemblyai.stt import AssemblyAIRecogniser
from voicepipe.vendors.assemblyai.tts import AssemblyAITTS
from voicepipe.vendors.espeak import EspeakTTS
from voicepipe.vendors.openai_speech import OpenAITTS
from voicepipe.vendors.pocketsphinx import PocketsphinxRecogniser

__all__ = [
    "AssemblyAIRecogniser",
    "AssemblyAITTS",
    "AssistantMessage",
    "AudioDevice",
    "AudioDeviceError",
    "AudioDeviceLost",
    "AudioDropped",
    "AudioError",
    "AudioFrame",
    "AuthenticationError",
    "Channel",
    "ChannelStatistics",
    "CleanupOverran",
    "ClockedOutput",
    "Completion",
    "ConfigurationError",
    "Deadlines",
    "EarlyTranscript",
    "EchoIgnored",
    "EspeakTTS",
    "Event",
    "Hearing",
    "History",
    "Host",
    "Inbox",
    "IncompleteReply",
    "LLMStreamStage",
    "LeaseRevoked",
    "Message",
    "MicSource",
    "MicrophoneLost",
    "MissingExtra",
    "Model",
    "ModelUsage",
    "OpenAITTS",
    "Outbox",
    "Output",
    "PacedOutput",
    "PacingStatistics",
    "Part",
    "Pipeline",
    "PocketsphinxRecogniser",
    "PullOutput",
    "PushSource",
    "RateLimitNear",
    "RateLimited",
    "Recogniser",
    "RecogniserLost",
    "ReplyEnd",
    "ReplyPart",
    "Request",
    "RequestRetried",
    "STTStage",
    "Sentence",
    "SentenceChunker",
    "SentenceSplitter",
    "SentenceStarted",
    "Session",
    "SessionStage",
    "Source",
    "Speaker",
    "SpeechEnded",
    "SpeechStarted",
    "Stage",
    "StageError",
    "StreamingParameters",
    "Structured",
    "StructuredDone",
    "StructuredFailed",
    "StructuredOutputError",
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
    "ToolStarted",
    "Toolbox",
    "Transcript",
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
    "VendorError",
    "VoicepipeError",
    "WavOutput",
    "WavSource",
    "Window",
    "Word",
    "WordMark",
    "audio",
    "devices",
    "read_wav",
    "run",
    "stage",
    "structured",
    "tool",
    "write_wav",
]
