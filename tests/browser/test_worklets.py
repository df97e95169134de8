"""The worklets of the page, block by block: they run in Chromium, on a clock that counts samples."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.browser import TimedPage, chromium, serving, with_browser

if TYPE_CHECKING:
    from playwright.async_api import Page as Tab

pytestmark = with_browser

BLOCK = 128

# Runs a worklet outside of an audio thread. Messages and input come before the block in which their time lies.
DRIVER = """async ({ name, rate, contextRate, seconds, messages, input }) => {
    const posted = [];
    let blocks = 0;
    globalThis.sampleRate = contextRate;
    globalThis.AudioWorkletProcessor = class {
        constructor() {
            const at = () => (blocks * 128) / contextRate;
            this.port = { postMessage: (message) => posted.push({ at: at(), message }) };
        }
    };
    let Worklet;
    globalThis.registerProcessor = (_, made) => (Worklet = made);
    await import(`/${name}.js?${Math.random()}`);
    const worklet = new Worklet({ processorOptions: { rate } });
    const out = [];
    const sent = (message) => (Array.isArray(message) ? new Int16Array(message).buffer : message);
    const waiting = messages.map(([at, message]) => [at, sent(message)]);
    for (; blocks * 128 < seconds * contextRate; blocks++) {
        while (waiting.length && waiting[0][0] * contextRate <= blocks * 128) {
            worklet.port.onmessage({ data: waiting.shift()[1] });
        }
        const heard = input ? [Float32Array.from({ length: 128 }, (_, i) => input[blocks * 128 + i] ?? 0)] : [];
        const block = new Float32Array(128);
        worklet.process([heard], [[block]]);
        out.push(...block);
    }
    const plain = ({ at, message }) => ({
        at,
        message: message.pcm ? { ...message, pcm: [...new Int16Array(message.pcm)] } : message,
    });
    return { out: out.map((sample) => Math.round(sample * 32768)), posted: posted.map(plain) };
}"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def page() -> AsyncGenerator[Tab]:
    async with serving(TimedPage()) as port, chromium() as context:
        page = await context.new_page()
        await page.goto(f"http://127.0.0.1:{port}/")
        yield page


@dataclass
class Ran:
    """What came out of a worklet.

    Attributes:
        out: The samples.
        rate: How many of them are a second.
        posted: Each message of the worklet, with its time in seconds.
    """

    out: list[int]
    rate: int
    posted: list[tuple[float, dict[str, Any]]]

    def of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at_s, message) for at_s, message in self.posted if message["type"] == kind]

    @property
    def sound(self) -> list[tuple[float, float]]:
        """From when to when it was not silent, in ms."""
        edges = [at for at in range(1, len(self.out)) if bool(self.out[at]) != bool(self.out[at - 1])]
        edges += [len(self.out)] if self.out[-1] else []
        times = [round(at * 1_000 / self.rate, 2) for at in edges]
        return list(zip(times[::2], times[1::2], strict=True))


async def played(
    page: Tab,
    messages: list[tuple[float, Any]],
    *,
    seconds: float = 1.0,
    rate: int = 16_000,
    context_rate: int = 16_000,
) -> Ran:
    """Let the playback worklet run for so many seconds; audio comes as (time, samples)."""
    given = {"name": "playback", "rate": rate, "contextRate": context_rate, "seconds": seconds, "input": None}
    ran = await page.evaluate(DRIVER, {**given, "messages": sorted(messages, key=lambda one: one[0])})
    return Ran(ran["out"], context_rate, [(one["at"], one["message"]) for one in ran["posted"]])


def frames(
    count: int, *, from_s: float = 0.0, every_s: float = 0.02, value: int = 8_000, rate: int = 16_000
) -> list[tuple[float, Any]]:
    """Frames of 20 ms of one value, at the pace of speech."""
    return [(from_s + at * every_s, [value] * (rate // 50)) for at in range(count)]


def rises(samples: list[int]) -> int:
    """Count how often the sound crosses zero upwards."""
    return sum(one < 0 <= other for one, other in pairwise(samples))


async def test_playback_begins_with_a_small_buffer_and_plays_what_came(page: Tab) -> None:
    """Two frames are buffered, everything is played in order, and the last report is the number of samples."""
    samples = [[1 + at * 320 + i for i in range(320)] for at in range(10)]
    ran = await played(page, [(at * 0.02, pcm) for at, pcm in enumerate(samples)])
    assert [sample for sample in ran.out if sample][:3_200] == [sample for pcm in samples for sample in pcm]
    assert ran.out.index(1) == 384  # the first block after the second frame came
    reports = [message["samples"] for _, message in ran.of("played")]
    assert reports == sorted(reports)
    assert reports[-1] == 3_200
    assert ran.of("played")[-1][1]["dryRuns"] == 0


async def test_a_short_utterance_is_played(page: Tab) -> None:
    """Audio that is shorter than the buffer begins after 50 ms, or at once if the server says that it is whole."""
    ran = await played(page, frames(1))
    assert ran.out.index(8_000) == 896
    ran = await played(page, [*frames(1), (0.001, {"type": "complete"})])
    assert ran.out.index(8_000) == 128


async def test_clear_fades_out_and_drops_the_rest(page: Tab) -> None:
    """After `clear` 5 ms fade out, the answer says how much was played, and new audio is played from its beginning."""
    messages = [*frames(20, every_s=0.005), (0.3, {"type": "clear", "id": 7}), *frames(5, from_s=0.5, value=5_000)]
    ran = await played(page, messages, seconds=1.0)
    ((at_s, cleared),) = ran.of("cleared")
    assert (at_s, cleared["id"]) == (0.304, 7)
    last = max(at for at in range(8_000) if ran.out[at])
    tail = ran.out[last - 79 : last + 1]  # 5 ms: from the full value in equal steps down
    assert tail == [round(8_000 * left / 80) for left in range(80, 0, -1)]
    assert cleared["samples"] == sum(1 for sample in ran.out[:8_000] if sample)
    assert last < 0.3 * 16_000 + BLOCK + 80
    assert sum(1 for sample in ran.out[8_000:] if sample == 5_000) == 5 * 320
    # What was cleared counts as a place, so that both sides count the same, and is never reported as played.
    reports = [message["samples"] for _, message in ran.of("played")]
    assert [samples for samples in reports if cleared["samples"] < samples <= 6_400] == []
    assert reports[-1] == 25 * 320


async def test_nothing_is_played_after_the_end_of_a_connection(page: Tab) -> None:
    """What waits fades out as after `clear`, and audio that comes later is that of another connection."""
    ran = await played(page, [*frames(20, every_s=0.005), (0.2, {"type": "end"}), *frames(5, from_s=0.3)])
    last = max(at for at in range(16_000) if ran.out[at])
    assert ran.out[last - 79 : last + 1] == [round(8_000 * left / 80) for left in range(80, 0, -1)]
    assert last == pytest.approx(0.205 * 16_000, abs=BLOCK)


async def test_clear_answers_in_silence_too(page: Tab) -> None:
    """`clear` is answered at once where nothing plays, also twice, and audio that waits is dropped."""
    clears = [(0.1, {"type": "clear", "id": 1}), (0.1, {"type": "clear", "id": 2})]
    ran = await played(page, [(0.09, [8_000] * 320), *clears])
    assert [message for _, message in ran.of("cleared")] == [
        {"type": "cleared", "id": 1, "samples": 0},
        {"type": "cleared", "id": 2, "samples": 0},
    ]
    assert ran.sound == []


async def test_the_buffer_grows_when_it_has_run_dry_and_shrinks_in_calm(page: Tab) -> None:
    """Each late frame adds 20 ms to the buffer, up to 200 ms; after 10 s without one it shrinks again."""
    late = [message for at in range(12) for message in frames(10, from_s=at * 0.35, rate=8_000)]
    ran = await played(page, late, seconds=4.5, rate=8_000, context_rate=8_000)
    buffers = [round(message["bufferS"], 3) for _, message in ran.of("played")]
    assert sorted({*buffers}) == [0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2]
    calm = [*frames(3, rate=8_000), *frames(550, from_s=0.15, rate=8_000)]
    ran = await played(page, calm, seconds=11.5, rate=8_000, context_rate=8_000)
    buffers = [round(message["bufferS"], 3) for _, message in ran.of("played")]
    assert max(buffers) == 0.06
    assert buffers[-1] == 0.04


async def test_the_end_of_an_utterance_is_no_fault_of_the_network(page: Tab) -> None:
    """A gap behind an utterance that has ended, or one that no buffer would bridge, makes the buffer no larger."""
    ended = [*frames(5), (0.1, {"type": "complete"}), *frames(5, from_s=0.25)]
    ran = await played(page, ended)
    assert ran.of("played")[-1][1]["dryRuns"] == 0
    ran = await played(page, [*frames(5), *frames(5, from_s=0.6)])
    assert ran.of("played")[-1][1]["dryRuns"] == 0


async def test_a_report_waits_until_the_audio_is_audible(page: Tab) -> None:
    """The position is that of what has left the loudspeaker, which the browser says is later by so many seconds."""
    plain = await played(page, frames(10))
    late = await played(page, [(0.0, {"type": "latency", "seconds": 0.2}), *frames(10)])
    assert [message["samples"] for _, message in plain.of("played")] == [
        message["samples"] for _, message in late.of("played")
    ]
    delays = {
        round(late_s - plain_s, 3)
        for (plain_s, _), (late_s, _) in zip(plain.of("played"), late.of("played"), strict=True)
    }
    assert delays == {0.2}


@pytest.mark.parametrize(("rate", "context_rate"), [(24_000, 48_000), (24_000, 44_100), (22_050, 16_000)])
async def test_other_rates_keep_the_pitch_and_the_count(page: Tab, rate: int, context_rate: int) -> None:
    """Where context and audio have different rates, a tone keeps its pitch, and the end is still the last sample."""
    tone = [round(10_000 * math.sin(2 * math.pi * 440 * at / rate)) for at in range(rate // 2)]
    size = rate // 50
    messages = [(at * 0.02, tone[at * size : (at + 1) * size]) for at in range(25)]
    ran = await played(page, messages, rate=rate, context_rate=context_rate)
    assert ran.of("played")[-1][1]["samples"] == len(tone)
    assert rises(ran.out) in (219, 220)


# --- capture ----------------------------------------------------------------------------------------------------------


async def captured(
    page: Tab, samples: list[float], context_rate: int, seconds: float
) -> list[tuple[float, list[int], float]]:
    """Let the capture worklet hear samples; returns time, PCM and level of each frame."""
    given = {"name": "capture", "rate": 0, "contextRate": context_rate, "seconds": seconds, "messages": []}
    ran = await page.evaluate(DRIVER, {**given, "input": samples})
    return [(one["at"], one["message"]["pcm"], one["message"]["level"]) for one in ran["posted"]]


def tone(hz: float, rate: int, seconds: float = 0.5) -> list[float]:
    return [0.5 * math.sin(2 * math.pi * hz * at / rate) for at in range(round(rate * seconds))]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 96_000])
async def test_frames_of_20_ms_at_16_khz(page: Tab, rate: int) -> None:
    """At any rate of the device, 320 samples at 16 kHz come every 20 ms, as loud as they were spoken."""
    found = await captured(page, tone(440, rate), rate, 0.5)
    assert len(found) in (24, 25)
    assert {len(pcm) for _, pcm, _ in found} == {320}
    assert found[10][2] == pytest.approx(0.5 / math.sqrt(2), rel=0.01)
    pcm = [sample for _, frame, _ in found[1:21] for sample in frame]
    assert rises(pcm) == 0.4 * 440


@pytest.mark.parametrize(("hz", "most"), [(3_000, 1.0), (9_500, 0.01), (12_000, 0.01), (20_000, 0.01)])
async def test_what_16_khz_cannot_hold_is_taken_off(page: Tab, hz: float, most: float) -> None:
    """Sound above 8 kHz does not fold down into speech: 40 dB less; speech itself is kept."""
    found = await captured(page, tone(hz, 48_000), 48_000, 0.5)
    level = found[-2][2] / (0.5 / math.sqrt(2))
    assert level <= most
    assert most < 1 or level > 0.9


async def test_a_microphone_that_is_gone_gives_silence(page: Tab) -> None:
    """Without any input frames go on, so that the server does not wait for audio."""
    found = await captured(page, [], 16_000, 0.2)
    assert [any(pcm) for _, pcm, _ in found] == [False] * 10
