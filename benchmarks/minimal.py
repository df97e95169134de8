"""The smallest program that holds a conversation: the baseline for a framework.

httpx and httpx-sse, a sentence at each full stop, one tool, speech, frames. No validation, no errors, no events, no
record of what was heard, and "Dr. Smith" is cut in two. One task for each turn.
"""

from __future__ import annotations

import json
from asyncio import Queue, Task, get_running_loop
from typing import TYPE_CHECKING

import anyio
from httpx_sse import aconnect_sse

if TYPE_CHECKING:
    import httpx

__all__ = ["MinimalAgent"]


class MinimalAgent:
    """One conversation.

    Args:
        http: Shared by all conversations.
        base_url: Of the model.
        messages: What was said before, the system prompt first.
        speak: Text to frames, an async generator.
        play: Takes one frame, waiting for room.
        tool: Arguments to result, the one tool there is.
    """

    def __init__(self, http: httpx.AsyncClient, base_url: str, messages: list, speak, play, tool=None) -> None:
        self.messages = messages
        self._http = http
        self._url = f"{base_url}/chat/completions"
        self._speak = speak
        self._play = play
        self._tool = tool
        self._audio: Queue[bytes] = Queue()
        self._listening = get_running_loop().create_task(self._listen())
        self._turn: Task[None] | None = None

    def hear(self, pcm: bytes) -> None:
        """Take 20 ms of the caller's audio."""
        self._audio.put_nowait(pcm)

    async def _listen(self) -> None:
        while True:
            await self._audio.get()

    def reply_to(self, text: str) -> None:
        """Answer in a separate task."""
        self._turn = get_running_loop().create_task(self._reply(text))

    async def _reply(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})
        sentences: Queue[str] = Queue()
        voice = get_running_loop().create_task(self._voice(sentences))
        while call := await self._ask(sentences):
            result = await self._tool(**json.loads(call["function"]["arguments"]))
            self.messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        sentences.put_nowait("")
        await voice

    async def _ask(self, sentences: Queue[str]) -> dict | None:
        """Return the tool call that the model makes, if any."""
        whole, sentence, call = "", "", None
        body = {"model": "scripted", "stream": True, "messages": self.messages}
        async with aconnect_sse(self._http, "POST", self._url, json=body) as source:
            async for event in source.aiter_sse():
                if event.data == "[DONE]":
                    continue  # read to the end, because stopping early would close the connection
                delta = json.loads(event.data)["choices"][0]["delta"]
                if piece := delta.get("content"):
                    whole += piece
                    sentence += piece
                    if piece[-1] in ".!?":
                        sentences.put_nowait(sentence.strip())
                        sentence = ""
                for piece in delta.get("tool_calls", ()):
                    if call is None:
                        call = piece
                    else:
                        call["function"]["arguments"] += piece["function"]["arguments"]
        if call is None:
            self.messages.append({"role": "assistant", "content": whole})
        return call

    async def _voice(self, sentences: Queue[str]) -> None:
        while text := await sentences.get():
            async for frame in self._speak(text):
                await self._play(frame)

    async def close(self) -> None:
        """Stop listening."""
        self._listening.cancel()
        await anyio.lowlevel.checkpoint()
