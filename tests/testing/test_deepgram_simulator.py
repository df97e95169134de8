"""The simulated Deepgram refuses what the service refuses, and closes when the service closes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voicepipe.testing.simulators.deepgram import DeepgramQuirks, DeepgramSimulator
from voicepipe.testing.simulators.stt import Spoken

pytestmark = pytest.mark.anyio

RAW = {"encoding": "linear16", "sample_rate": "16000"}
NOVA: dict[str, Any] = {"model": "nova-3", **RAW, "interim_results": "true", "vad_events": "true", "endpointing": "300"}
FLUX: dict[str, Any] = {"model": "flux-general-en", **RAW}
SILENCE = bytes(3200)
"""A tenth of a second."""


def dial(url: str, path: str, query: dict[str, Any], key: str = "k") -> connect:
    headers = {"Authorization": f"Token {key}"}
    return connect(
        f"{url}{path}?{urlencode(query, doseq=True)}",
        additional_headers=headers,
        compression=None,
        ping_interval=None,
        proxy=None,
    )


async def held(path: str, query: dict[str, Any], *steps: float | str, simulator: DeepgramSimulator) -> dict[str, Any]:
    """Send steps, seconds of silence as it is spoken or messages, and return what came: messages, close, and when."""
    came: dict[str, Any] = {"messages": []}

    async def read() -> None:
        try:
            while True:
                came["messages"].append(json.loads(await socket.recv()))
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd is not None else 1006
            came["closed"] = (round(anyio.current_time() - began_s, 1), code, closed.rcvd and closed.rcvd.reason[:40])

    async with simulator.serve() as url, dial(url, path, query) as socket:
        began_s = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for step in steps:
                if isinstance(step, str):
                    await socket.send(step)
                    continue
                for _ in range(round(step * 10)):
                    await anyio.sleep(0.1)
                    await socket.send(SILENCE)
    return came


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/v1/listen", NOVA | {"model": "nonsense"}, 400),
        ("/v1/listen", NOVA | {"encoding": "mp3"}, 400),
        ("/v1/listen", NOVA | {"sample_rate": "fast"}, 400),
        ("/v1/listen", {**NOVA, "interim_results": "false", "utterance_end_ms": "1000"}, 400),
        ("/v1/listen", NOVA | {"utterance_end_ms": "200"}, 400),
        ("/v1/listen", NOVA | {"model": "nova-2", "keyterm": "a"}, 400),
        ("/v2/listen", NOVA, 400),
        ("/v2/listen", FLUX | {"endpointing": "300"}, 400),
        ("/v2/listen", FLUX | {"eager_eot_threshold": "0.8"}, 400),
        ("/v2/listen", FLUX | {"eot_threshold": "0.2"}, 400),
        ("/v2/listen", FLUX | {"language_hint": "de"}, 400),
        ("/v3/listen", NOVA, 404),
    ],
)
async def test_a_wrong_handshake_is_refused(path: str, query: dict[str, Any], status: int) -> None:
    """Parameters are checked in the handshake, and the refusal is the service's JSON; so is a wrong key."""
    async with DeepgramSimulator(api_key="k").serve() as url:
        for asked, key, expected in ((query, "k", status), (NOVA, "another", 401)):
            with pytest.raises(InvalidStatus) as refused:
                async with dial(url, path if key == "k" else "/v1/listen", asked, key):
                    pass
            assert refused.value.response.status_code == expected
            assert {"err_code", "err_msg"} <= json.loads(refused.value.response.body).keys()


KEEP_ALIVE, CLOSE = '{"type":"KeepAlive"}', '{"type":"CloseStream"}'
NO_AUDIO = "Deepgram did not receive audio data or a"


@pytest.mark.parametrize(
    ("path", "query", "steps", "closed"),
    [
        ("/v1/listen", NOVA, [2.0], (12.0, 1011, NO_AUDIO)),
        ("/v1/listen", NOVA, [2.0, KEEP_ALIVE], (12.0, 1011, NO_AUDIO)),
        ("/v1/listen", NOVA, [], (10.0, 1011, NO_AUDIO)),
        ("/v1/listen", NOVA, [1.0, CLOSE], (1.2, 1000, "")),
        ("/v2/listen", FLUX, [2.0], (12.0, 1011, NO_AUDIO)),
        ("/v2/listen", FLUX, [1.0, KEEP_ALIVE], (1.1, 1005, "")),
        ("/v2/listen", FLUX, [1.0, CLOSE], (1.2, 1005, "")),
    ],
)
async def test_a_connection_ends_as_it_does_at_the_service(
    path: str, query: dict[str, Any], steps: list[float | str], closed: tuple[float, int, str]
) -> None:
    """Without audio after 10 s; on request; with Flux, without a code, and also on a message that it does not know."""
    assert (await held(path, query, *steps, simulator=DeepgramSimulator()))["closed"] == closed


async def test_nova_sends_pieces_as_time_goes_on() -> None:
    """Interim results each second, a stretch that ends after 3 s, a silence that ends it sooner, noise, and the end."""
    script = [Spoken("one two three", 0.5, 2.0)]
    simulator = DeepgramSimulator(script, quirks=DeepgramQuirks(noises=[(2.6, 2.8)]))
    came = await held("/v1/listen", NOVA | {"utterance_end_ms": "1000"}, 6.5, CLOSE, simulator=simulator)
    assert [brief(message) for message in came["messages"]] == [
        "SpeechStarted", "one", "one two three", "one two three.", "SpeechStarted", "UtteranceEnd", ".", "", "", "/",
        "Metadata",
    ]  # fmt: skip


def brief(message: dict[str, Any]) -> str:
    """A result in short: its words, "/" for the end of what cannot change any more and "." for a pause."""
    if message["type"] != "Results":
        return str(message["type"])
    sign = "." if message["speech_final"] else "/" if message["is_final"] else ""
    return f"{message['channel']['alternatives'][0]['transcript']}{sign}"


async def test_settings_are_answered() -> None:
    """Each `Configure` is answered once, and what is refused changes nothing."""
    simulator = DeepgramSimulator()
    good = json.dumps({"type": "Configure", "thresholds": {"eot_threshold": 0.9}})
    bad = json.dumps({"type": "Configure", "thresholds": {"eot_threshold": 0.9, "eager_eot_threshold": 0.95}})
    came = await held("/v2/listen", FLUX, 0.2, good, bad, '{"type":"ForceEndTurn"}', 0.5, CLOSE, simulator=simulator)
    kinds = [message["type"] for message in came["messages"] if message["type"] != "TurnInfo"]
    assert kinds == ["Connected", "ConfigureSuccess", "ConfigureFailure", "Warning"]
    assert [message["sequence_id"] for message in came["messages"]] == list(range(len(came["messages"])))
    assert (simulator.sessions[0].asked.eot_threshold, simulator.sessions[0].asked.eager_eot_threshold) == (0.9, None)
