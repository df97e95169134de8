"""The conversations of the demo and the parts of its agent: embedded and scripted ones, or AssemblyAI's services.

Rule 1: both hold the same conversation and are reported in the same way; only this module knows the difference.
Rule 2: a live model's replies are not scripted, so only this is checked: each turn ended as it should, and part of its
        reply was audible.
"""

from __future__ import annotations

import os
from array import array
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import voicepipe as vp
from voicepipe.cli._demo_script import CALLER, GRAMMAR, LINES, LIVE_SYSTEM, NOTES, SYSTEM, TOOLS, answer, problems
from voicepipe.testing.gateway import ScriptedGateway
from voicepipe.vendors.openai.services import GATEWAY_URL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from voicepipe.cli._demo_script import Line
    from voicepipe.tools.tool import Tool

__all__ = [
    "KEY_ENV",
    "LISTEN_RATE",
    "SPEAK_RATE",
    "TOKEN_S",
    "Conversation",
    "Stack",
    "assemblyai",
    "live_problems",
    "local",
]

KEY_ENV: Final = "ASSEMBLYAI_API_KEY"
LISTEN_RATE: Final = 16_000
SPEAK_RATE: Final = vp.EspeakTTS.sample_rate
TOKEN_S: Final = 0.01
SILENCE_S: Final = 0.28

AUDIBLE: Final = 200
"""A sample louder than this is audible: -44 dB of full scale."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The parts of an agent, and how a call with it is judged.

    Attributes:
        stt: Recognises the caller.
        llm: The model.
        tts: The voice, at `SPEAK_RATE`.
        problems: Returns what went wrong, a sentence each, from the events and the audio played in each turn.
        requests: Returns the body of each request to the model, as far as they are known.
        is_scripted: Whether the agent ends the call; otherwise the caller hangs up after the last reply.
    """

    stt: vp.STTStage
    llm: vp.LLMStreamStage
    tts: vp.TTSSink
    problems: Callable[[Sequence[vp.Event], Mapping[int, bytes]], list[str]]
    requests: Callable[[], list[Any]]
    is_scripted: bool


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A conversation that the demo can hold.

    Attributes:
        title: What it is.
        notes: What is real and what is not; shown first.
        opened: Opens the parts.
        lines: What the caller says.
        tools: What the model may call.
        caller: The eSpeak voice of the caller, for lines that no recording has.
    """

    title: str
    notes: Sequence[str]
    opened: Callable[[], AbstractAsyncContextManager[Stack]]
    lines: Sequence[Line] = LINES
    tools: Sequence[Tool[..., Any]] = TOOLS
    caller: str = CALLER


def local() -> Conversation:
    """Return the conversation that needs neither key nor network."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Stack]:
        gateway = ScriptedGateway(answer, token_s=TOKEN_S)
        async with gateway.serve() as base_url:
            yield Stack(
                stt=vp.STTStage(vp.PocketsphinxRecogniser(GRAMMAR, silence_s=SILENCE_S)),
                llm=vp.LLMStreamStage(SYSTEM, base_url=base_url, model="scripted"),
                tts=vp.EspeakTTS(),
                problems=lambda events, _played: problems(events),
                requests=lambda: [request.body for request in gateway.requests if request.chat is not None],
                is_scripted=True,
            )

    return Conversation(title="A conversation without key, network or sound card.", notes=NOTES, opened=opened)


def assemblyai(urls: Mapping[str, str]) -> Conversation:
    """Return the conversation with the stack of AssemblyAI's services.

    Args:
        urls: Other URLs than AssemblyAI's own for "stt", "llm" and "tts", e.g. of the simulators, which need no key.

    Raises:
        ConfigurationError: The key for one of AssemblyAI's own URLs is missing, or a URL is invalid.
    """
    has_key = bool(os.environ.get(KEY_ENV, "").strip())
    if not (has_key or {"stt", "llm", "tts"} <= urls.keys()):
        raise vp.ConfigurationError(f"--assemblyai needs a key: put it into the environment variable {KEY_ENV}")
    stt = vp.AssemblyAIRecogniser(url=urls.get("stt"))
    key_env = KEY_ENV if has_key else None
    llm = vp.LLMStreamStage(LIVE_SYSTEM, base_url=urls.get("llm", GATEWAY_URL), model="gpt-5.2", api_key_env=key_env)
    tts = vp.AssemblyAITTS(sample_rate=SPEAK_RATE, url=urls.get("tts"))
    notes = (
        f"recogniser: {stt.speech_model} at {stt.url}",
        f"model: {llm.model} at {llm.base_url}",
        f"voice: {tts.voice_id} at {tts.url}; the caller is an embedded eSpeak voice (GPL-3)",
        "figures: end of speech to first audio, measured; they include the network; the services bill their use",
        "replies are not scripted; the demo checks that each turn ends as it should and is audible",
    )

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Stack]:
        yield Stack(stt=vp.STTStage(stt), llm=llm, tts=tts, problems=live_problems, requests=list, is_scripted=False)

    return Conversation(title="A conversation with AssemblyAI's services.", notes=notes, opened=opened)


def live_problems(events: Sequence[vp.Event], played: Mapping[int, bytes], lines: Sequence[Line] = LINES) -> list[str]:
    """Return what went wrong in a conversation with unscripted replies, a sentence each.

    Args:
        events: What the session emitted.
        played: The agent's audio of each turn, by the turn's number.
        lines: What the caller said.
    """
    turns = [event for event in events if isinstance(event, vp.TurnEnded)]
    found: list[str] = []
    for line, turn in zip(lines, turns, strict=False):
        kind = vp.TurnCompleted if line.cut_after_s is None else vp.TurnInterrupted
        if not isinstance(turn, kind):
            said = f": {turn.error}" if isinstance(turn, vp.TurnFailed) else ""
            found.append(
                f"turn {turn.turn_id}: it should end as {kind.__name__}, but it ended as {type(turn).__name__}{said}"
            )
        elif not turn.heard:
            found.append(f"turn {turn.turn_id}: the agent said nothing")
        elif max(map(abs, array("h", played.get(turn.turn_id, b""))), default=0) <= AUDIBLE:
            found.append(f"turn {turn.turn_id}: {turn.heard!r} was said, but nothing of it was audible")
    if len(turns) != len(lines):
        found.append(f"there were {len(turns)} turns instead of {len(lines)}")
    return found
