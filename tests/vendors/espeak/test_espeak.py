"""EspeakTTS: audio, words, voices, early ends, what is missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from array import array
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from voicepipe.errors import ConfigurationError
from voicepipe.flow import Sentence, WordMark
from voicepipe.vendors.espeak.tts import EspeakTTS

needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason="espeakng-loader is not installed (extra local)",
)
pytestmark = [pytest.mark.anyio, needs_espeak]


@pytest.fixture
def anyio_backend() -> str:
    """The engine runs on a thread, which knows no virtual time."""
    return "asyncio"


async def speak(tts: EspeakTTS, text: str) -> tuple[bytes, list[WordMark]]:
    pcm, marks = b"", []
    async for piece in tts.synthesize(Sentence(text)):
        if isinstance(piece, WordMark):
            marks.append(piece)
        else:
            pcm += piece
    return pcm, marks


async def test_speaks() -> None:
    """A sentence becomes audible audio of about the length it takes to say it."""
    tts = EspeakTTS()
    async with tts.open():
        pcm, _ = await speak(tts, "Your order has shipped.")

    assert 1.0 < len(pcm) / 2 / tts.sample_rate < 2.5
    assert max(array("h", pcm)) > 3_000


async def test_comes_in_pieces() -> None:
    """Audio is handed on in pieces of 60 ms, so that playback need not wait for the whole sentence."""
    tts = EspeakTTS()
    async with tts.open():
        pieces = [p async for p in tts.synthesize(Sentence("Your order has shipped.")) if isinstance(p, bytes)]

    assert {len(piece) for piece in pieces[:-1]} == {2 * 1_323 + 2}
    assert 0 < len(pieces[-1]) <= len(pieces[0])


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
async def test_blank_text_is_silent(text: str) -> None:
    """Blank text yields nothing at all."""
    tts = EspeakTTS()
    async with tts.open():
        assert await speak(tts, text) == (b"", [])


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Hello, world one two.", ["Hello,", "world", "one", "two."]),
        (" Café — déjà vu, naïve. ", ["Café —", "déjà vu,", "naïve."]),  # the dash is silent, "déjà vu" one word
        ("It costs 12.50 today", ["It", "costs", "12.50", "today"]),  # four words for the number
        ("One 😀 moment\n\nplease", ["One", "😀", "moment", "please"]),
    ],
)
async def test_marks_where_words_end(text: str, ends: list[str]) -> None:
    """Each mark stands at the end of a whole word, whatever the script, and the last one at the end of all."""
    tts = EspeakTTS()
    async with tts.open():
        pcm, marks = await speak(tts, text)

    assert [mark.char_end for mark in marks] == [text.index(word) + len(word) for word in ends]
    assert marks[-1].end_s == len(pcm) / 2 / tts.sample_rate
    times = [mark.end_s for mark in marks]
    assert times == sorted(set(times))


async def test_a_mark_comes_before_the_audio_of_the_next_word() -> None:
    """When a mark is yielded, no audio after its time has been yielded yet."""
    tts = EspeakTTS()
    samples, marks = 0, 0
    async with tts.open():
        async for piece in tts.synthesize(Sentence("one two three four five")):
            if isinstance(piece, WordMark):
                marks += 1
                assert samples / tts.sample_rate <= piece.end_s + 0.001  # the engine's times are whole milliseconds
            else:
                samples += len(piece) // 2
    assert marks == 5


async def test_characters_that_end_or_break_text_do_not() -> None:
    """NUL and half a surrogate pair neither cut the sentence nor fail it."""
    tts = EspeakTTS()
    async with tts.open():
        _, marks = await speak(tts, "one\0two \ud83d three four")

    assert [mark.char_end for mark in marks] == [len("one\0two \ud83d"), len("one\0two \ud83d three"), 20]


async def test_two_sentences_at_once() -> None:
    """Sentences in different voices, synthesised at once, keep their own audio and voice."""
    quick, slow = EspeakTTS(words_per_minute=300), EspeakTTS("en-us+f3", words_per_minute=100)
    lengths: dict[str, list[int]] = {"quick": [], "slow": []}

    async def say(tts: EspeakTTS, who: str) -> None:
        pcm, _ = await speak(tts, "Where is my order?")
        lengths[who].append(len(pcm))

    async with quick.open(), slow.open(), anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(say, quick, "quick")
            tasks.start_soon(say, slow, "slow")

    assert len(lengths["quick"]) == len(lengths["slow"]) == 10
    assert 2 * max(lengths["quick"]) < min(lengths["slow"])


async def test_closed_early_the_synthesis_stops() -> None:
    """A closed generator stops its synthesis at the next piece, and the next sentence is sound."""
    tts = EspeakTTS()
    async with tts.open():
        whole, _ = await speak(tts, "one two three")
        async with aclosing(tts.synthesize(Sentence("word " * 20_000))) as pieces:
            await anext(pieces)
        again, _ = await speak(tts, "one two three")

    assert abs(len(again) - len(whole)) < 2_000


async def test_closed_before_its_turn_it_is_never_synthesised() -> None:
    """A sentence closed while another one is synthesised is taken out of the queue."""
    tts = EspeakTTS()
    async with tts.open():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(speak, tts, "word " * 50)
            tasks.start_soon(speak, tts, "word " * 50)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert (await speak(tts, "done"))[0]


async def test_the_thread_ends_with_the_host() -> None:
    """No thread is left when the voice is closed."""
    before = threading.active_count()
    tts = EspeakTTS()
    async with tts.open():
        await speak(tts, "one")
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


@pytest.mark.parametrize("voice", ["en-gb", "en-us+f33", "", "xx-yy", "de+nobody"])
async def test_an_unknown_voice_is_refused_when_opened(voice: str) -> None:
    """A voice or variant that does not exist is found before any audio, and voices that do exist are named."""
    with pytest.raises(ConfigurationError, match="similar are: ") as caught:
        async with EspeakTTS(voice).open():
            pass
    named = str(caught.value).partition("similar are: ")[2].split(", ")
    for name in named:
        async with EspeakTTS(f"en-us{name}" if name.startswith("+") else name).open():
            pass


@pytest.mark.parametrize("rate", [79, 451])
def test_the_rate_has_limits(rate: int) -> None:
    """A rate that the engine would silently change is refused."""
    with pytest.raises(ConfigurationError, match="between 80 and 450"):
        EspeakTTS(words_per_minute=rate)


async def test_another_sample_rate_is_refused() -> None:
    """A subclass that says another rate than the engine's is wired wrongly, and told so."""

    class Wrong(EspeakTTS):
        sample_rate = 16_000

    with pytest.raises(ConfigurationError, match=r"Wrong speaks at 16000 Hz, .* 22050 Hz"):
        async with Wrong().open():
            pass


async def test_an_error_while_audio_is_handed_over_is_raised() -> None:
    """What a sink raises inside the library's callback comes out of `speak`, and the engine goes on."""
    from voicepipe.vendors.espeak.engine import engine

    def fail(pcm: bytes, words: list[tuple[int, float]]) -> bool:
        raise KeyError("sink")

    with pytest.raises(KeyError, match="sink"):
        engine().speak("one two", fail, voice="en-us", words_per_minute=165)
    tts = EspeakTTS()
    async with tts.open():
        assert (await speak(tts, "one"))[0]


def run(script: str, *, is_quiet: bool = True, **environment: str) -> str:
    """Run a script in a process of its own: an engine is loaded once per process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert not is_quiet or done.stderr == ""
    return done.stdout.strip()


SPEAK = """
import anyio, sys
from voicepipe.errors import VoicepipeError
from voicepipe.flow import Sentence
from voicepipe.vendors.espeak.tts import EspeakTTS
async def main():
    tts = EspeakTTS()
    async with tts.open():
        print(len([p async for p in tts.synthesize(Sentence("One two."))]) > 3)
try:
    anyio.run(main)
except VoicepipeError as error:
    print(type(error).__name__, error)
"""


def test_a_deep_data_directory_is_reached(tmp_path: Path) -> None:
    """Data in a path longer than the library takes is read nevertheless, and the link to it is gone afterwards."""
    import espeakng_loader

    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (deep / "data").symlink_to(espeakng_loader.get_data_path())
    short = tmp_path / "t"
    short.mkdir()
    script = f"import espeakng_loader as l; l.get_data_path = lambda: {str(deep / 'data')!r}\n{SPEAK}"

    assert run(script, TMPDIR=str(short)) == "True"
    assert list(short.iterdir()) == []


def test_data_that_no_link_makes_reachable_is_reported(tmp_path: Path) -> None:
    """When the temporary directory is deep as well, the error says what to do instead of ending the process."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    script = f"import espeakng_loader as l; l.get_data_path = lambda: {str(deep)!r}\n{SPEAK}"

    assert "use a virtual environment in a shorter path" in run(script, TMPDIR=str(deep))


def test_data_that_is_no_data_is_reported(tmp_path: Path) -> None:
    """An empty data directory is a typed error instead of the end of the process."""
    script = f"import espeakng_loader as l; l.get_data_path = lambda: {str(tmp_path)!r}\n{SPEAK}"

    told = run(script, is_quiet=False)  # the library itself names the file it misses
    assert told.startswith("ConfigurationError eSpeak NG found no voices")


BLOCKED = f"import sys; sys.modules['espeakng_loader'] = None\n{SPEAK}"


@pytest.mark.skipif(sys.platform != "linux", reason="the system library is looked for on Linux")
def test_the_system_library_is_used_without_the_package() -> None:
    """Without espeakng-loader, a system libespeak-ng.so.1 speaks."""
    import espeakng_loader

    directory = str(Path(espeakng_loader.get_library_path()).parent)

    assert run(BLOCKED, LD_LIBRARY_PATH=directory, ESPEAK_DATA_PATH=directory) == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="the system library is looked for on Linux")
@pytest.mark.slow
def test_names_the_extra_when_there_is_no_library() -> None:
    """Without both, the error names the package and the extra that brings it."""
    if run("import ctypes\ntry: ctypes.CDLL('libespeak-ng.so.1'); print(1)\nexcept OSError: print(0)") == "1":
        pytest.skip("this machine has a system libespeak-ng.so.1")

    assert run(BLOCKED).startswith("MissingExtra EspeakTTS needs the package espeakng_loader")
    assert "voicepipe[local]" in run(BLOCKED)


def test_repr_shows_the_voice() -> None:
    """The settings are visible."""
    assert repr(EspeakTTS("de", words_per_minute=120)) == "<EspeakTTS de 120 wpm>"
