"""An installed wheel, tried from outside of the checkout: `make package` runs this where only the core is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import anyio

import voicepipe as vp
from voicepipe import testing
from voicepipe.audio.resample import Resampler

WHEEL = distribution("voicepipe")
COMMAND = Path(sys.executable).with_name("voicepipe")


def comes_from_the_wheel() -> str:
    """The package that is imported is the installed one, not a checkout."""
    assert Path(vp.__file__).is_relative_to(sys.prefix), f"imported from {vp.__file__}, expected below {sys.prefix}"
    assert WHEEL.read_text("direct_url.json") is None or '"editable"' not in str(WHEEL.read_text("direct_url.json"))
    return f"voicepipe {WHEEL.version}"


def says_what_it_is() -> str:
    """The metadata state the licence, and its text is there; type checkers find the marker of a typed package."""
    names = {str(path) for path in WHEEL.files or ()}
    assert WHEEL.metadata["License-Expression"] == "MIT"
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "voicepipe/py.typed" in names
    return "licence, type marker"


def holds_its_data() -> str:
    """Each language whose file is in the wheel can be loaded."""
    languages = [Path(str(path)).stem for path in WHEEL.files or () if path.suffix == ".toml" and path.stem != "any"]
    assert {"de", "en", "fr"} <= set(languages)
    for language in languages:
        assert vp.SentenceSplitter(language).feed("1 2 3. ") == []
    return f"{len(languages)} languages"


def has_its_command() -> str:
    """The command `voicepipe` is installed, and works with the core alone."""
    asked = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "demo" in asked.stdout, asked.stdout
    return "command"


def names_what_is_missing() -> str:
    """A part that needs an extra says which one."""
    try:
        found = Resampler(22_050, 16_000)
    except vp.MissingExtra as error:
        message = str(error)
    else:
        raise AssertionError(f"{found} is there, so more than the core is installed")
    assert "voicepipe[local]" in message, message
    return "missing extras"


async def holds_a_conversation() -> str:
    """A turn goes through all stages, from the caller's words to the record of what was heard."""
    agent = vp.Pipeline(
        testing.ScriptedUser(),
        testing.ScriptedModel([testing.Says("We open at nine. See you then.")]),
        vp.SentenceChunker("en"),
        testing.ScriptedVoice(character_s=0.001),
        output=testing.RecordingOutput(),
    )
    with anyio.fail_after(10):
        async with agent.session() as session:
            await session.user_says("What time do you open?")
    said = [message.text for message in session.history]
    assert said == ["What time do you open?", "We open at nine. See you then."], said
    return "a conversation"


if __name__ == "__main__":
    tried = [check() for check in (comes_from_the_wheel, says_what_it_is, holds_its_data, has_its_command)]
    tried += [names_what_is_missing(), anyio.run(holds_a_conversation)]
    sys.stdout.write(f"the wheel works outside of the checkout: {', '.join(tried)}\n")
