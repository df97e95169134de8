"""The callers of `fleet`, in one process: python -m benchmarks.fleet_load.

Each caller speaks the page's protocol over a websocket as a page does: it asks for a token, plays what comes by its
clock, reports what it has played, and resumes a call whose connection broke or that the server gave up with
`bye{resumable}`. Its audio carries questions, see `fleet_app`, and it writes down what happened as a line of JSON:

- ready: a connection carries the call; `resumed`, and `why` if it was to be resumed and was not.
- lost: a connection ended; the close code, and how far the turn had come.
- refused: an attempt to connect that failed, and why.
- back: the first message of the connection after that, and how long there was none.
- sound: the first sound of a reply that was cut, and how long the caller heard nothing.
- turn: a reply was heard to its end; `waited_s` from the end of the question to its first sound, `pause_s` the longest
  silence inside of it, the words that were heard, that were heard twice, and that never were.
- broken off: the call of a question was not resumed.
- unanswered: a question without a reply in time; the caller asks another one.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import deque
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.typing import Subprotocol

from benchmarks.fleet_app import FORGOTTEN, MARK, RATE_OUT, STORY, question_of, sentence_of
from benchmarks.fleet_ear import Ear, ends
from voicepipe.audio.remote.pacing import Playhead

FRAME_S = 0.02
SPEAKS_S = 0.6
PATIENCE_S = 6.0
"""How long a caller waits for the next sound or message of a turn before asking something else."""

RETRY_S = (0.0, 0.1, 0.25, 0.5, 1.0)
GIVE_UP_S = 30.0
ABANDONED = 4000
"""The code with which a page closes a connection that another one follows."""

REPEATS = 640 // MARK.size
SILENCE = bytes(640)


def say(event: str, **fields: object) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps({"event": event, "at_s": round(anyio.current_time(), 4), **fields}) + "\n")
    sys.stdout.flush()


@dataclass
class Turn:
    """A question and its reply."""

    number: int
    kind: int
    call: int
    asked_s: float | None = None  # when the last of the question was sent
    first_s: float | None = None  # when the first sound of the reply came
    pause_s: float = 0.0
    is_over: bool = False


class Refused(Exception):  # noqa: N818 - names what happened
    """There is no connection now."""


async def joined(base: str, key: str | None, http: httpx.AsyncClient | None = None):
    """Call as a page does, or resume the call of a key; return the socket and the server's `ready`.

    Raises:
        Refused: There is no connection now.
    """
    origin = f"http://{urlsplit(base).netloc}"
    try:
        async with nullcontext(http) if http else httpx.AsyncClient(trust_env=False) as client:
            response = await client.post(f"{base}token", headers={"origin": origin})
        given = response.raise_for_status().json()
    except httpx.HTTPError as error:
        raise Refused(str(error)) from None
    url = given.get("url", base).replace("http", "ws", 1)
    protocols = [Subprotocol("voicepipe.v1"), Subprotocol(f"token.{given['token']}")]
    options = {"compression": None, "proxy": None, "ping_interval": None, "origin": origin}
    try:
        socket = await connect(url, subprotocols=protocols, **options)
    except (OSError, InvalidHandshake, InvalidMessage, EOFError) as error:
        raise Refused(str(error)) from None
    resume = {} if key is None else {"resume": key}
    try:
        await socket.send(json.dumps({"type": "hello", "microphone": {"echo_cancellation": True}, **resume}))
        return socket, json.loads(await socket.recv())
    except ConnectionClosed as closed:
        raise Refused(str(closed)) from None


class Caller:
    """One caller.

    Args:
        number: Which one.
        bases: Where tokens are asked for, in turn if one does not answer.
        options: Of the command line.
    """

    def __init__(self, number: int, bases: list[str], options: argparse.Namespace) -> None:
        self.number = number
        self._options = options
        self._bases = deque(bases)
        self._bases.rotate(-number)
        self._random = random.Random(options.seed * 1_000 + number)
        self._socket = None
        self._key: str | None = None
        self._ear = Ear()
        self._head = Playhead(RATE_OUT)
        self._cleared = self._received = 0
        self._turn = Turn(0, 1, 0, is_over=True)
        self._call = 0  # how many calls there were before this one
        self._answered = 0  # the newest question whose reply was heard to its end in this call
        self._speaks = 0  # frames of the question that are still to be said
        self._news_s = 0.0  # when the server last sent something about the turn
        self._lost_s: float | None = None
        self._silent_since_s: float | None = None
        self._was_resumed = False
        self._must_hang_up = False
        self._http = None

    # --- the call -----------------------------------------------------------------------------------------------------

    async def run(self, http: httpx.AsyncClient) -> None:
        self._http = http
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._microphone)
            tasks.start_soon(self._converse)
            while not self._must_hang_up:
                if not await self._reconnected():
                    break
                await self._receive()
            tasks.cancel_scope.cancel()
        say("end", caller=self.number)

    def hang_up(self) -> None:
        self._must_hang_up = True

    async def _reconnected(self) -> bool:
        """Connect; return False if that did not work for too long."""
        with anyio.move_on_after(GIVE_UP_S):
            tries = 0
            while True:
                await anyio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)] * self._random.uniform(0.75, 1.25))
                tries += 1
                try:
                    with anyio.fail_after(5.0):
                        await self._connect()
                except (Refused, TimeoutError) as error:
                    say("refused", caller=self.number, why=str(error)[:200])
                    self._bases.rotate(-1)
                    continue
                return True
        say("gave up", caller=self.number)
        return False

    async def _connect(self) -> None:
        key = self._key
        socket, ready = await joined(self._bases[0], key, self._http)
        assert ready["type"] == "ready", ready
        self._was_resumed = ready.get("resumed", False)
        if self._lost_s is not None and not self._was_resumed:
            self._answered = 0  # another call, which knows nothing of this one
            self._call += 1
        self._key = ready.get("resume")
        self._head, self._cleared, self._received = Playhead(RATE_OUT), 0, 0
        self._socket = socket
        say(
            "ready",
            caller=self.number,
            url="{}:{}".format(*socket.remote_address),
            resumed=self._was_resumed,
            why=ready.get("why"),
            had_key=key is not None,
        )
        self._note_news()

    async def _receive(self) -> None:
        """Take what comes until the connection ends, and note how it ended."""
        socket, bye = self._socket, {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._report, socket)
            with suppress(ConnectionClosed):
                async for message in socket:
                    now = anyio.current_time()
                    if isinstance(message, bytes):
                        self._take_audio(message, now)
                    elif (said := json.loads(message))["type"] == "bye":
                        bye = said
                        break
                    else:
                        await self._take(said, now)
            tasks.cancel_scope.cancel()
        lost_s = anyio.current_time()
        self._socket = None
        self._cut(lost_s)
        turn = self._turn
        say(
            "lost",
            caller=self.number,
            code=socket.close_code,
            bye=bye or None,
            turn=turn.number,
            speaking=bool(turn.first_s) and not turn.is_over,
            asked=turn.asked_s is not None and not turn.is_over,
            asking=self._speaks > 0,
        )
        self._lost_s = lost_s
        with anyio.move_on_after(1.0, shield=True), suppress(ConnectionClosed, OSError):
            await socket.close(ABANDONED)
        if not self._is_resumable(socket.close_code, bye):
            self._key = None

    def _is_resumable(self, code: int | None, bye: dict) -> bool:
        return bool(bye.get("resumable")) or (not bye and code in (None, 1005, 1006, 1012))

    def _cut(self, now: float) -> None:
        """Fall silent, and remember since when if the agent was speaking."""
        is_in_reply = self._turn.first_s is not None and not self._turn.is_over
        self._ear.cut(now)
        if is_in_reply:
            self._silent_since_s = self._ear.last_s

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _take_audio(self, pcm: bytes, now: float) -> None:
        self._received += len(pcm) // 2
        self._head.add(len(pcm) // 2, now)
        self._ear.play(now)
        value = max(ends(pcm))
        turn = self._turn
        if value and question_of(value) == turn.number % 64 and not turn.is_over:
            self._news_s = now
            if turn.first_s is None:
                turn.first_s = now
            elif not self._ear.is_playing and self._ear.has_begun and not self._ear.cuts:
                turn.pause_s = max(turn.pause_s, now - self._ear.last_s)
            self._note_sound(now)
        self._ear.add(pcm, now)

    async def _take(self, said: dict, now: float) -> None:
        kind = said["type"]
        if kind == "clear":
            played = self._head.played(now)
            await self._socket.send(
                json.dumps({"type": "cleared", "id": said["id"], "samples": played + self._cleared})
            )
            self._cleared = self._received - played
            self._head.cut(played)
            self._ear.clear()
        elif kind == "turn_ended":
            if said["outcome"] == "failed":
                say("failed", caller=self.number, turn=self._turn.number)
            if self._turn.asked_s is not None and not said.get("joined"):
                self._turn.is_over = True
        self._news_s = now

    def _note_news(self) -> None:
        """The resumed call has sent its first message."""
        if self._lost_s is not None:
            gap_s = anyio.current_time() - self._lost_s
            say(
                "back",
                caller=self.number,
                gap_s=round(gap_s, 4),
                resumed=self._was_resumed,
                lost_s=round(self._lost_s, 4),
            )
            self._lost_s = None

    def _note_sound(self, now: float) -> None:
        if self._silent_since_s is not None:
            silence_s = now - self._silent_since_s
            self._turn.pause_s = max(self._turn.pause_s, silence_s)
            say("sound", caller=self.number, silence_s=round(silence_s, 4), turn=self._turn.number)
            self._silent_since_s = None

    # --- what goes out ------------------------------------------------------------------------------------------------

    async def _report(self, socket) -> None:
        with suppress(ConnectionClosed):
            while True:
                await anyio.sleep(0.1)
                samples = self._head.played(anyio.current_time()) + self._cleared
                await socket.send(json.dumps({"type": "played", "samples": samples}))

    async def _microphone(self) -> None:
        """Send 20 ms at a time; what is said while there is no connection is lost."""
        began_s, count = anyio.current_time(), 0
        while True:
            frame = SILENCE
            if self._speaks:
                self._speaks -= 1
                frame = MARK.pack(self._turn.kind, self._turn.number, self.number, self._answered) * REPEATS
            if self._socket is not None:
                with suppress(ConnectionClosed):
                    await self._socket.send(frame)
            if frame is not SILENCE and not self._speaks:
                self._turn.asked_s = anyio.current_time()
            count += 1
            await anyio.sleep_until(began_s + count * FRAME_S)

    async def _converse(self) -> None:
        await anyio.sleep(self._random.uniform(0.0, 2.0))
        for number in range(1, self._options.turns + 1):
            while self._socket is None:  # noqa: ASYNC110 - looked at once a frame, as all else here
                await anyio.sleep(FRAME_S)
            kind = 2 if self._random.random() < self._options.books else 1
            turn = self._turn = Turn(number, kind, self._call)
            self._ear.begin(number)
            self._silent_since_s = None
            self._speaks = round(SPEAKS_S / FRAME_S)
            self._news_s = anyio.current_time()
            await self._await_reply(turn)
            await anyio.sleep(self._random.uniform(0.4, 1.2))
        self.hang_up()
        if self._socket is not None:
            with suppress(ConnectionClosed):
                await self._socket.send(json.dumps({"type": "end"}))

    async def _await_reply(self, turn: Turn) -> None:
        """Listen to the reply to its end, and write down what was heard."""
        while not (turn.is_over and not self._ear.is_playing):
            if turn.call != self._call:
                say("broken off", caller=self.number, turn=turn.number, kind=turn.kind)
                return
            now = anyio.current_time()
            self._ear.play(now)
            if now - self._news_s > PATIENCE_S + SPEAKS_S and self._socket is not None:
                say("unanswered", caller=self.number, turn=turn.number, kind=turn.kind, cuts=self._ear.cuts)
                return
            await anyio.sleep(FRAME_S)
        self._ear.settle()
        if turn.first_s is None:
            say("unanswered", caller=self.number, turn=turn.number, kind=turn.kind, cuts=self._ear.cuts)
            return
        story = {value for value in self._ear.heard if sentence_of(value) <= STORY[-1][0]}
        sentences = {sentence_of(value) for value in self._ear.heard}
        say(
            "turn",
            caller=self.number,
            turn=turn.number,
            kind=turn.kind,
            cuts=self._ear.cuts,
            asked_s=round(turn.asked_s or 0.0, 4),
            waited_s=round(turn.first_s - (turn.asked_s or turn.first_s), 4),
            pause_s=round(turn.pause_s, 4),
            words=len(self._ear.heard),
            twice=len(self._ear.twice),
            missed=sum(words for _, words in STORY) - len(story) if story else 0,
            sentences=sorted(sentences),
            forgot=FORGOTTEN[0][0] in sentences,
        )
        self._answered = turn.number


async def main(options: argparse.Namespace) -> None:
    callers = [Caller(number, options.bases, options) for number in range(1, options.callers + 1)]
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(trust_env=False, limits=limits) as http, anyio.create_task_group() as tasks:

        async def wait_for_the_end() -> None:
            await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
            for caller in callers:
                caller.hang_up()
            await anyio.sleep(0.5)
            say("over")
            tasks.cancel_scope.cancel()

        tasks.start_soon(wait_for_the_end)
        async with anyio.create_task_group() as calls:
            for caller in callers:
                calls.start_soon(caller.run, http)
                await anyio.sleep(0.12)  # a server lets in ten a second
        say("over")
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("bases", nargs="+", metavar="URL", help="of gateways or workers, each ends with /")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--turns", type=int, default=1_000_000)
    parser.add_argument("--books", type=float, default=0.3, help="the share of questions that need a writing tool")
    parser.add_argument("--seed", type=int, default=1)
    anyio.run(main, parser.parse_args())
