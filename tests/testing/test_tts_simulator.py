"""The simulated text-to-speech service, with the vendor's own client and with a bare websocket, on virtual time."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import assemblyai
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from voicepipe.errors import VendorError
from voicepipe.flow import Sentence, WordMark
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.testing import ScriptedVoice
from voicepipe.testing.simulators._tts_rules import Ended, Intake, TTSLimits, timed_words
from voicepipe.testing.simulators.tts import TTSFault, TTSSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

pytestmark = pytest.mark.anyio

KEY = "canary-7f3a"
FLUSH, CANCEL, TERMINATE = ({"type": kind} for kind in ("Flush", "Cancel", "Terminate"))
QUICK: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None, "max_size": None}


def says(text: str) -> dict[str, str]:
    return {"type": "Generate", "text": text}


class Client:
    """A plain websocket client.

    Attributes:
        heard: Each message of the service, with the milliseconds since the connection was made.
        close_code: How it ended.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.heard: list[tuple[int, dict[str, Any]]] = []
        self.close_code: int | None = None
        self._socket = socket
        self._since_s = anyio.current_time()

    async def send(self, *messages: dict[str, Any] | str | bytes) -> None:
        for message in messages:
            await self._socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def until(self, kind: str) -> dict[str, Any]:
        """Read up to the next message of a kind, and return it."""
        while True:
            with anyio.fail_after(5_000):
                message = json.loads(await self._socket.recv())
            self.heard.append((round(1000 * (anyio.current_time() - self._since_s)), message))
            if message["type"] == kind:
                return message

    async def to_the_end(self) -> dict[str, Any]:
        """Read until the connection is closed, and return the last message."""
        with pytest.raises(websockets.ConnectionClosed):
            await self.until("never")
        self.close_code = self._socket.close_code or 1006
        return self.heard[-1][1] if self.heard else {}

    def table(self, *kinds: str) -> list[tuple[int, str, int]]:
        """When each message came, and for which request."""
        return [(at, m["type"], m["flush_id"]) for at, m in self.heard if "flush_id" in m and m["type"] in kinds]

    @property
    def kinds(self) -> list[str]:
        """The types of the messages, consecutive equal ones once."""
        types = [message["type"] for _, message in self.heard]
        return [kind for at, kind in enumerate(types) if types[at - 1 : at] != [kind]]

    def audio(self, flush_id: int) -> bytes:
        return b"".join(
            base64.b64decode(m["audio"]) for _, m in self.heard if m.get("flush_id") == flush_id and "audio" in m
        )


@asynccontextmanager
async def calling(simulator: TTSSimulator, query: str = "", **options: Any) -> AsyncGenerator[Client]:
    async with simulator.serve() as url, connect(f"{url}/v1/ws?{query}", **QUICK, **options) as connection:
        yield Client(connection)


async def refused(
    *messages: dict[str, Any] | str | bytes, simulator: TTSSimulator | None = None, query: str = "", **options: Any
) -> tuple[Client, dict[str, Any]]:
    """Send what ends a session, and return the client and the error."""
    async with calling(simulator or TTSSimulator(), query, **options) as client:
        await client.send(*messages)
        return client, await client.to_the_end()


# --- the vendor's own client ------------------------------------------------------------------------------------------


@asynccontextmanager
async def vendor_session(simulator: TTSSimulator, **options: Any) -> AsyncGenerator[assemblyai.AsyncTTSSession]:
    settings = assemblyai.settings.copy()
    settings.api_key = KEY
    async with simulator.serve() as url:
        settings.tts_base_url = url
        async with assemblyai.AsyncClient(settings=settings) as client:
            async with assemblyai.AsyncTTSSession(client=client, **options) as session:
                yield session


async def test_the_vendors_client_hears_pipelined_requests_in_order() -> None:
    """Two consecutive requests are heard whole and in order, and the session's totals are right."""
    async with vendor_session(TTSSimulator(api_key=KEY), word_boundaries=True) as session:
        await session.generate("One sentence. ")
        first = await session.flush()
        await session.generate("And another.")
        second = await session.flush()
        heard = [b"".join([piece async for piece in session.audio(flush_id)]) for flush_id in (first, second)]

    assert [len(pcm) / 48_000 for pcm in heard] == [0.78, 0.72]  # 13 and 12 characters of 0.06 s
    assert session.termination is not None
    assert session.termination.total_input_char_length == 26
    assert session.termination.audio_duration_seconds == 1.5


async def test_the_vendors_client_goes_on_after_a_cancel() -> None:
    """After a `Cancel` in the middle of audio the vendor's client hears only the next request."""
    async with vendor_session(TTSSimulator(late_frames=5)) as session:
        await session.generate("A sentence that nobody wants to hear to its end. ")
        async for _ in session.audio(await session.flush()):
            await session.cancel()
        said = b"".join([piece async for piece in session.speak("Next.")])

    assert len(said) / 48_000 == 5 * 0.06
    assert session.error is None


async def test_the_vendors_client_understands_a_refusal() -> None:
    """A key that is refused after the upgrade reaches the vendor's client as its own error with the code."""
    with pytest.raises(assemblyai.TTSError) as raised:
        async with vendor_session(TTSSimulator(api_key="another")):
            pass
    assert (raised.value.error_code, raised.value.body["close_code"], raised.value.retryable) == (
        "unauthorized",
        1008,
        False,
    )


# --- a session --------------------------------------------------------------------------------------------------------


async def test_begin_tells_the_settings_and_the_limits() -> None:
    """`Begin` comes first and has the configuration, and the parameters that the service does not know."""
    query = "voice_id=aai-eve&language=German&sample_rate=16000&word_boundaries=False&speed=2&inactivity_timeout=30"
    async with calling(TTSSimulator(), query) as client:
        begin = await client.until("Begin")

    told = begin["configuration"]
    assert len(client.heard) == 1
    assert (told["voice_id"], told["language"], told["sample_rate"]) == ("aai-eve", "german", 16_000)
    assert (told["word_boundaries"], told["inactivity_timeout"], told["unknown_params"]) == (False, 30, ["speed"])
    assert told["limits"]["max_generate_text_length"] == 2_000
    assert begin["expires_at"] == told["session_ttl_sec"] == 3_600


async def test_audio_comes_in_frames_faster_than_real_time() -> None:
    """The first audio comes after its delay, a frame of 80 ms follows every 8 ms, and then `FlushDone`."""
    async with calling(TTSSimulator(character_s=0.05)) as client:
        await client.send(says("Hello."), FLUSH)
        done = await client.until("WordBoundaries")

    audio = [(300, "Audio", 0), (308, "Audio", 0), (316, "Audio", 0), (324, "Audio", 0)]
    assert client.table("Audio", "FlushDone") == [*audio, (324, "FlushDone", 0)]
    lengths = [len(base64.b64decode(m["audio"])) for _, m in client.heard if m["type"] == "Audio"]
    assert lengths == [3840, 3840, 3840, 2880]
    assert next(m for _, m in client.heard if m["type"] == "FlushDone")["audio_duration_ms"] == 300
    assert done["words"] == [{"word": "Hello.", "start": 0, "end": 300, "confidence": 0.98}]


async def test_requests_never_mix() -> None:
    """Pipelined requests are spoken in their order, each with its number; the second one is ready at once."""
    async with calling(TTSSimulator(character_s=0.08)) as client:
        await client.send(says("Ab"), FLUSH, says("cd"), FLUSH)
        await client.until("FlushDone")
        await client.until("FlushDone")

    assert client.table("Audio", "FlushDone") == [
        (300, "Audio", 0),
        (308, "Audio", 0),
        (308, "FlushDone", 0),
        (316, "Audio", 1),
        (324, "Audio", 1),
        (324, "FlushDone", 1),
    ]


async def test_word_times_count_from_the_sessions_first_sample() -> None:
    """Word boundaries follow their request's end, on the timeline of all audio that was sent."""
    async with calling(TTSSimulator(character_s=0.1)) as client:
        await client.send(says("One two."), FLUSH, says("Six"), FLUSH)
        await client.until("WordBoundaries")
        second = await client.until("WordBoundaries")

    first = next(m for _, m in client.heard if m["type"] == "WordBoundaries")
    assert [(w["word"], w["start"], w["end"]) for w in first["words"]] == [("One", 0, 300), ("two.", 400, 800)]
    assert (second["audio_start_ms"], second["words"][0]["start"], second["words"][0]["end"]) == (800, 800, 1100)
    (first_done, _, _), (second_done, _, _) = client.table("FlushDone")
    assert client.table("WordBoundaries") == [
        (first_done + 50, "WordBoundaries", 0),
        (second_done + 50, "WordBoundaries", 1),
    ]


async def test_no_word_times_unless_asked_for() -> None:
    """A client that turns word boundaries off gets none."""
    async with calling(TTSSimulator(boundaries_s=0.0), "word_boundaries=false") as client:
        await client.send(says("One two."), FLUSH, TERMINATE)
        await client.to_the_end()
    assert client.kinds == ["Begin", "Audio", "FlushDone", "Termination"]


async def test_whole_sentences_are_spoken_before_the_flush() -> None:
    """Audio of a complete sentence comes while its request is still being written, and belongs to that request."""
    async with calling(TTSSimulator(character_s=0.08)) as client:
        await client.send(says("One. Tw"))
        early = await client.until("Audio")
        await client.send(says("o."), FLUSH)
        done = await client.until("FlushDone")

    assert (early["flush_id"], done["flush_id"], done["audio_duration_ms"]) == (0, 0, 640)
    assert client.kinds == ["Begin", "Audio", "FlushDone"]


async def test_a_cancel_drops_all_requests_and_takes_a_number() -> None:
    """Frames under way still come before `Cancelled`, then only the next request's; its number is the one after."""
    simulator = TTSSimulator(character_s=0.08, late_frames=2)
    async with calling(simulator) as client:
        await client.send(says("A long sentence"), FLUSH, says("and one behind"), FLUSH, says("and one half"))
        await client.until("Audio")
        await client.send(CANCEL)
        cancelled = await client.until("Cancelled")
        await client.send(says("new"), FLUSH)
        await client.until("FlushDone")

    assert client.table("Audio", "FlushDone") == [
        (300, "Audio", 0),
        (300, "Audio", 0),
        (300, "Audio", 0),
        *[(at, "Audio", 3) for at in (620, 628, 636)],
        (636, "FlushDone", 3),
    ]
    assert cancelled["audio_duration_seconds"] == 0.24
    (session,) = simulator.sessions
    assert [(s.flush_id, s.outcome, s.audio_s) for s in session.speeches] == [(0, "cancelled", 0.24), (3, "done", 0.24)]


async def test_a_cancel_with_nothing_to_cancel_is_answered() -> None:
    """`Cancel` between two requests is answered at once and takes a number all the same."""
    async with calling(TTSSimulator()) as client:
        await client.send(CANCEL)
        assert (await client.until("Cancelled"))["audio_duration_seconds"] == 0.0
        await client.send(says("Hi."), FLUSH)
        assert (await client.until("FlushDone"))["flush_id"] == 1


@pytest.mark.parametrize("text", ["", " \n", "?!", "😀"])
async def test_nothing_to_say_is_done_at_once(text: str) -> None:
    """A request without a letter or digit has no audio and a length of 0."""
    async with calling(TTSSimulator()) as client:
        await client.send(says(text), FLUSH)
        done = await client.until("FlushDone")
    assert (done["flush_id"], done["audio_duration_ms"], client.kinds) == (0, 0, ["Begin", "FlushDone"])


@pytest.mark.parametrize(
    ("messages", "flushed", "characters"),
    [
        pytest.param([], 0, 0, id="nothing"),
        pytest.param([says("Hi."), FLUSH], 1, 3, id="all flushed"),
        pytest.param([says("Hi."), FLUSH, says(" You.")], 2, 8, id="a rest"),
        pytest.param([says("Hi. "), says("You. ")], 1, 9, id="a rest that was spoken early"),
    ],
)
async def test_terminate_speaks_the_rest_and_closes(
    messages: list[dict[str, Any]], flushed: int, characters: int
) -> None:
    """Text without its flush is spoken before the summary; then the session is closed with 1000."""
    simulator = TTSSimulator()
    async with calling(simulator) as client:
        await client.send(*messages, TERMINATE, says("Ignored."), FLUSH)
        summary = await client.to_the_end()

    assert (summary["type"], summary["total_input_char_length"]) == ("Termination", characters)
    assert (len(client.table("FlushDone")), client.close_code) == (flushed, 1000)
    (session,) = simulator.sessions
    assert (session.was_terminated, session.close_code, session.error) == (True, 1000, "")
    assert session.kinds == [message["type"] for message in (*messages, TERMINATE)]


async def test_what_no_reference_tells_of_can_be_mixed_in() -> None:
    """The switch adds a message and a field that a client must ignore."""
    async with calling(TTSSimulator(adds_unknown=True)) as client:
        await client.send(says("Hi."), FLUSH)
        done = await client.until("FlushDone")
    assert client.kinds == ["Begin", "Notice", "Audio", "FlushDone"]
    assert "unheard_of" in done


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code", "kind"),
    [
        pytest.param(b"\x00", 3006, "invalid_message", id="binary"),
        pytest.param("{", 3006, "invalid_message", id="no JSON"),
        pytest.param("[" * 100_000, 3006, "invalid_message", id="nested too deeply"),
        pytest.param("[]", 3006, "invalid_message", id="no object"),
        pytest.param({"type": "Speak"}, 3006, "invalid_message", id="unknown type"),
        pytest.param({"type": ["Flush"]}, 3006, "invalid_message", id="no type"),
        pytest.param({"type": "Generate"}, 3006, "invalid_message", id="no text"),
        pytest.param(says("a " * 1001), 3006, "invalid_request", id="too long"),
        pytest.param(says("a" * 61), 3006, "invalid_request", id="a run without spaces"),
        pytest.param(says("a " * 751), 3010, "input_rate_exceeded", id="too fast"),
    ],
)
async def test_a_bad_message_ends_the_session(message: Any, code: int, kind: str) -> None:
    """A refusal is an `Error` frame, followed by a close with the same code."""
    client, error = await refused(message)
    assert (error["type"], error["error_code"], error["error_type"]) == ("Error", code, kind)
    assert (client.close_code, error["retryable"]) == (code, False)


async def test_a_run_may_not_grow_over_several_messages() -> None:
    """Texts are joined unchanged, so a run without spaces counts across them."""
    _, error = await refused(says("a" * 60), says("a"))
    assert error["error_type"] == "invalid_request"
    async with calling(TTSSimulator()) as client:
        await client.send(says("a" * 60), FLUSH, says("a"), FLUSH)
        await client.until("FlushDone")
        await client.until("FlushDone")


async def test_a_huge_message_is_closed_without_a_word() -> None:
    """More than a mebibyte is closed with 1009."""
    client, last = await refused(says("a" * (1 << 20)))
    assert (client.close_code, last["type"]) == (1009, "Begin")


@pytest.mark.parametrize(
    ("query", "kind", "param"),
    [
        ("voice_id=jane", "voice_not_found", "voice_id"),
        ("voice_id=", "voice_not_found", "voice_id"),
        ("language=klingon", "invalid_parameter", "language"),
        ("sample_rate=11025", "invalid_parameter", "sample_rate"),
        ("sample_rate=24k", "invalid_parameter", "sample_rate"),
        ("encoding=mp3", "invalid_parameter", "encoding"),
        ("model_id=tts-9", "invalid_parameter", "model_id"),
        ("word_boundaries=perhaps", "invalid_parameter", "word_boundaries"),
        ("inactivity_timeout=4", "invalid_parameter", "inactivity_timeout"),
        ("inactivity_timeout=121", "invalid_parameter", "inactivity_timeout"),
    ],
)
async def test_a_bad_parameter_is_refused_after_the_upgrade(query: str, kind: str, param: str) -> None:
    """A parameter with a value that the service refuses is an error instead of `Begin`."""
    client, error = await refused(query=query)
    assert (client.kinds, client.close_code) == (["Error"], 3006)
    assert (error["error_type"], error["param"]) == (kind, param)


async def test_a_voice_of_ones_own_is_taken_by_its_id() -> None:
    """A voice may also be a UUID."""
    async with calling(TTSSimulator(), "voice_id=0b6ff6b2-6f3c-4a5e-9f0e-2f4f3c1d2e3f") as client:
        assert (await client.until("Begin"))["configuration"]["voice_id"].startswith("0b6ff6b2")


@pytest.mark.parametrize("key", [None, "wrong", f"Bearer {KEY}"])
async def test_a_key_is_refused_after_the_upgrade(key: str | None) -> None:
    """Any key can connect; a wrong, missing or not bare one then gets an error and a close."""
    headers = {"Authorization": key} if key else {}
    client, error = await refused(simulator=TTSSimulator(api_key=KEY), additional_headers=headers)
    assert (client.kinds, client.close_code, error["error_type"]) == (["Error"], 1008, "unauthorized")


async def test_the_key_is_in_no_log_and_no_record(caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG the simulator writes neither the key nor a token."""
    caplog.set_level(logging.DEBUG)
    simulator, silent = TTSSimulator(api_key=KEY), logging.Logger("silent", logging.CRITICAL + 1)  # noqa: LOG001
    options: dict[str, Any] = {"additional_headers": {"Authorization": KEY}, "logger": silent}
    async with calling(simulator, f"token={KEY}", **options) as client:
        await client.until("Begin")
    assert KEY not in caplog.text + repr(simulator.sessions) + repr(simulator)


async def test_another_path_is_not_found() -> None:
    """There is one path; another is an HTTP error, not a session."""
    simulator = TTSSimulator()
    async with simulator.serve() as url:
        with pytest.raises(websockets.InvalidStatus) as raised:
            await connect(f"{url}/v3/ws", **QUICK)
    assert raised.value.response.status_code == 404
    assert simulator.sessions == []


async def test_text_may_come_at_the_pace_it_is_allowed() -> None:
    """After the first 1500, a hundred characters a second are accepted."""
    async with calling(TTSSimulator(limits=TTSLimits(grace_characters=100))) as client:
        for _ in range(3):
            await client.send(says("a " * 50))
            await anyio.sleep(1)
        await client.send(says("a " * 50), says("a"))
        assert (await client.to_the_end())["error_type"] == "input_rate_exceeded"


async def test_text_that_waits_has_a_limit() -> None:
    """Eight thousand characters may wait to be spoken, one more is too many."""
    client, error = await refused(
        *[says("a " * 1000)] * 4, says(""), says("a"), simulator=TTSSimulator(limits=TTSLimits(grace_characters=99_999))
    )
    assert error["error"] == "more than 8000 characters wait"
    assert client.close_code == 3010


async def test_text_that_was_spoken_waits_no_more() -> None:
    """A long session may speak more text in all than may wait at once."""
    simulator = TTSSimulator(character_s=0.001, limits=TTSLimits(grace_characters=99_999))
    async with calling(simulator) as client:
        for _ in range(9):
            await client.send(says("a " * 500), FLUSH)
            await client.until("FlushDone")
    assert [speech.outcome for speech in simulator.sessions[0].speeches] == ["done"] * 9


async def test_control_messages_have_a_limit() -> None:
    """Twenty control messages in a second are accepted, the twenty-first is not."""
    async with calling(TTSSimulator()) as client:
        for _ in range(2):
            await client.send(*[{"type": "KeepAlive"}] * 20)
            await anyio.sleep(1)
        await client.send(*[{"type": "KeepAlive"}] * 21)
        assert (await client.to_the_end())["error_type"] == "rate_limited"


async def test_a_silent_client_is_dropped() -> None:
    """A client that sends nothing for its timeout gets an error, and every message restarts that time."""
    async with calling(TTSSimulator(), "inactivity_timeout=10") as client:
        await anyio.sleep(9)
        await client.send({"type": "KeepAlive"})
        error = await client.to_the_end()
    assert (client.heard[-1][0], error["error_type"], client.close_code) == (19_000, "inactivity_timeout", 3006)


async def test_a_session_expires() -> None:
    """A session ends a minute after its hour, whatever its client sends, and another may begin."""
    async with calling(TTSSimulator()) as client, anyio.create_task_group() as tasks:

        async def keep_alive() -> None:
            while True:
                await client.send({"type": "KeepAlive"})
                await anyio.sleep(60)

        tasks.start_soon(keep_alive)
        error = await client.to_the_end()
        tasks.cancel_scope.cancel()
    assert (client.heard[-1][0], error["error_type"], client.close_code) == (3_660_000, "session_expired", 3008)
    assert error["retryable"] is True


async def test_sessions_have_a_rate() -> None:
    """One session too many in a minute is refused with a pause, and after that pause there is room."""
    simulator = TTSSimulator(limits=TTSLimits(sessions_per_minute=2))
    codes: list[int | None] = []
    async with simulator.serve() as url:
        for wait_s in (10, 0, 50, 0):
            async with connect(f"{url}/v1/ws", **QUICK) as connection:
                first = json.loads(await connection.recv())
                codes.append(first.get("error_code"))
                if first["type"] == "Error":
                    assert first["retry_after_seconds"] == 50
            await anyio.sleep(wait_s)
    assert codes == [None, None, 3009, None]


async def test_a_rate_of_none_refuses_every_session() -> None:
    """Where no session is allowed, the first one is refused for a minute."""
    simulator = TTSSimulator(limits=TTSLimits(sessions_per_minute=0))
    async with simulator.serve() as url, connect(f"{url}/v1/ws", **QUICK) as connection:
        refused = json.loads(await connection.recv())
    assert (refused["error_code"], refused["retry_after_seconds"]) == (3009, 60)


@asynccontextmanager
async def deaf_client(url: str) -> AsyncGenerator[None]:
    """A client that asks for much and reads nothing."""
    reader = socket.socket(proto=socket.IPPROTO_TCP)  # else its messages wait for each other
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    reader.setblocking(False)
    async with connect(f"{url}/v1/ws?sample_rate=48000", sock=reader, close_timeout=0, max_queue=1, **QUICK) as ws:
        await ws.send(json.dumps(says("a " * 1000)))
        await ws.send(json.dumps(FLUSH))
        await anyio.sleep(20)
        yield
        ws.transport.abort()


async def test_audio_must_be_read() -> None:
    """A client that leaves its audio unread for half a minute loses the session."""
    simulator = TTSSimulator(limits=TTSLimits(grace_characters=99_999))
    async with AsyncExitStack() as clients:
        async with simulator.serve() as url:
            await clients.enter_async_context(deaf_client(url))
            with anyio.fail_after(20):
                await simulator.sessions[0].wait_ended()
            ended_s = anyio.current_time()
        assert anyio.current_time() == ended_s  # its connection is gone
    assert simulator.sessions[0].error == "audio was not read for 30 s"


async def test_a_client_that_does_not_read_cannot_hold_the_simulator() -> None:
    """Leaving the block ends every connection, even of a client that reads nothing."""
    simulator = TTSSimulator(limits=TTSLimits(grace_characters=99_999))
    async with AsyncExitStack() as clients:
        async with simulator.serve() as url:
            await clients.enter_async_context(deaf_client(url))
        assert (anyio.current_time(), simulator.sessions[0].ended_s) == (22.0, 22.0)


async def test_a_server_that_runs_for_long_keeps_nothing() -> None:
    """Without a record, sessions are counted and forgotten."""
    simulator = TTSSimulator(record=False)
    async with calling(simulator) as client:
        await client.send(says("Hello."), FLUSH)
        await client.until("FlushDone")
    assert (simulator.sessions, repr(simulator)) == ([], "<TTSSimulator tone 1 sessions>")


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kinds", "code"),
    [
        (TTSFault(code=1011), ["Error"], 1011),
        (TTSFault(code=3005, after_frames=2), ["Begin", "Audio", "Error"], 3005),
        (TTSFault(how="close", code=1012, after_frames=2), ["Begin", "Audio"], 1012),
        (TTSFault(how="close", code=1012), [], 1012),
        (TTSFault(how="cut", after_frames=2), ["Begin", "Audio"], 1006),
        (TTSFault(how="cut"), [], 1006),
    ],
)
async def test_a_fault_comes_where_it_is_wanted(fault: TTSFault, kinds: list[str], code: int) -> None:
    """A session ends by its fault, after the given number of frames, and the next session is sound."""
    simulator = TTSSimulator(faults=[fault], character_s=0.5)
    async with simulator.serve() as url:
        async with connect(f"{url}/v1/ws", **QUICK) as connection:
            broken = Client(connection)
            if fault.after_frames:
                await broken.send(says("Hello."), FLUSH)
            await broken.to_the_end()
        async with connect(f"{url}/v1/ws", **QUICK) as connection:
            well = Client(connection)
            await well.send(says("Hello."), FLUSH)
            await well.until("FlushDone")

    assert (broken.kinds, broken.close_code) == (kinds, code)
    assert simulator.sessions[0].close_code == code
    assert simulator.sessions[0].frames == fault.after_frames


async def test_a_stalled_session_keeps_its_connection_and_says_nothing() -> None:
    """A stalled session sends nothing more, however long the client waits."""
    async with calling(TTSSimulator(faults=[TTSFault(how="stall", after_frames=1)])) as client:
        await client.send(says("Hello."), FLUSH)
        await client.until("Audio")
        with anyio.move_on_after(100) as wait:
            await client.until("FlushDone")
    assert wait.cancelled_caught
    assert client.kinds == ["Begin", "Audio"]


# --- a voice behind it ------------------------------------------------------------------------------------------------


async def test_a_voice_speaks_behind_the_protocol() -> None:
    """The audio is the voice's, sample by sample, and the words end at its marks."""
    voice = ScriptedVoice(first_audio_s=0.1, character_s=0.05, marks=True, sample_rate=16_000)
    async with calling(TTSSimulator(voice), "sample_rate=16000") as client:
        await client.send(says("One two"), FLUSH)
        boundaries = await client.until("WordBoundaries")

    assert client.audio(0) == b"\x00\x10" * round(7 * 0.05 * 16_000)
    assert [(w["start"], w["end"]) for w in boundaries["words"]] == [(0, 150), (200, 350)]


async def test_a_voice_of_another_rate_is_resampled() -> None:
    """A client hears the rate it asked for."""
    voice = ScriptedVoice(character_s=0.05, sample_rate=8_000)
    async with calling(TTSSimulator(voice), "sample_rate=24000") as client:
        await client.send(says("One two"), FLUSH)
        done = await client.until("FlushDone")
    assert done["audio_duration_ms"] == 350
    assert len(client.audio(0)) == 2 * 24_000 * 350 // 1000


class Failing(TTSSink):
    """A voice that fails."""

    async def synthesize(self, sentence: Sentence) -> AsyncIterator[bytes | WordMark]:
        raise VendorError("the voice is hoarse", vendor="Failing", retryable=False)
        yield b""


async def test_a_voice_that_fails_is_loud() -> None:
    """The client receives a server error, and `serve` raises its cause."""
    with pytest.raises(VendorError, match="hoarse"):
        async with calling(TTSSimulator(Failing())) as client:
            await client.send(says("Hello."), FLUSH)
            error = await client.to_the_end()
            assert (error["error_type"], client.close_code) == ("internal_error", 1011)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_espeak_speaks_behind_the_protocol() -> None:
    """In real time the embedded voice is heard through the vendor's own client."""
    from voicepipe.vendors.espeak.tts import EspeakTTS

    if os.environ.get("VOICEPIPE_TEST_ALL") != "1":
        pytest.importorskip("espeakng_loader")
    async with vendor_session(TTSSimulator(EspeakTTS(), first_audio_s=0.0, speed=1000.0)) as session:
        pcm = b"".join([piece async for piece in session.speak("Where is my order?")])
    assert 0.5 < len(pcm) / 48_000 < 3.0
    assert any(pcm)


# --- the rules alone --------------------------------------------------------------------------------------------------


@given(st.lists(st.text(alphabet='ab .!?"\n', max_size=30), max_size=10))
def test_text_that_goes_in_comes_out_once(texts: list[str]) -> None:
    """The text that is spoken early and the rest at the flush join to the whole text."""
    intake = Intake(TTSLimits(run_characters=999))
    out = "".join(intake.generate(text, 0.0) for text in texts)
    assert out + intake.flush() == "".join(texts)


def test_what_is_spoken_or_cancelled_waits_no_more() -> None:
    """Text that is taken up makes room, and so does a `Cancel`."""
    intake = Intake(TTSLimits(buffer_characters=4))
    intake.spoken(intake.generate("a. b", 0.0))
    intake.generate("cd ", 0.0)
    intake.cancel()
    intake.generate("abcd", 0.0)
    with pytest.raises(Ended):
        intake.generate("e", 0.0)


def test_words_between_two_marks_are_spread_evenly() -> None:
    """Words that a voice does not mark lie between those that it marks."""
    words = timed_words("aa bb cc dd", [(5, 1.0)], start_s=10.0, length_s=4.0)
    assert [(word.word, word.start_s, word.end_s) for word in words] == [
        ("aa", 10.0, 10.4),
        ("bb", 10.6, 11.0),
        ("cc", 11.5, 12.5),
        ("dd", 13.0, 14.0),
    ]
