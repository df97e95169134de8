"""The marks of a model's thoughts, of calls written as text, and of its chat template. Tables, and how to find a mark.

A server with the right parsers takes all of these out of a reply's text. Without them they arrive as text.

Source: the reasoning and tool parsers of vLLM, SGLang, Ollama and llama.cpp, OpenAI's "harmony response format",
Google's "Gemma 4 prompt formatting" and Mistral's description of its tokens, read 2026-11-29.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

__all__ = [
    "BARE",
    "BARE_WORDS",
    "CALLS",
    "FOREIGN",
    "HARMONY",
    "HEADERS",
    "MARK",
    "THOUGHTS",
    "any_of",
    "is_special",
    "tail",
]

THOUGHTS: Final = {
    "<think>": "</think>",  # DeepSeek, Qwen, GLM, Kimi K2, Nemotron and most others
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # EXAONE Deep, Gemini's OpenAI-compatible service
    "<reasoning>": "</reasoning>",
    "<scratch_pad>": "</scratch_pad>",  # Hermes
    "<seed:think>": "</seed:think>",
    "<mm:think>": "</mm:think>",  # MiniMax
    "[THINK]": "[/THINK]",  # Magistral, Ministral
    "◁think▷": "◁/think▷",  # Kimi
    "<|channel>": "<channel|>",  # Gemma 4
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A, Command R7B
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
}
"""What opens thoughts, and what closes them: a mark of another pair does not."""

CALLS: Final = {
    "<tool_call>": "</tool_call>",  # Hermes, Qwen, GLM
    "<tool_calls>": "</tool_calls>",
    "<tools>": "</tools>",
    "<function=": "</function>",
    "<function_call>": "</function_call>",
    "<function_calls>": "</function_calls>",
    "<invoke name=": "</invoke>",
    "<tool_code>": "</tool_code>",
    "<TOOLCALL>": "</TOOLCALL>",  # Nemotron
    "<seed:tool_call>": "</seed:tool_call>",
    "<minimax:tool_call>": "</minimax:tool_call>",
    "<start_function_call>": "<end_function_call>",  # FunctionGemma
    "<|tool_call>": "<tool_call|>",  # Gemma 4
    "<|tool_call|>": "<|/tool_call|>",  # Phi 4; Granite's has no end
    "<|tool_call_start|>": "<|tool_call_end|>",  # LFM2
    "<|tool_calls_section_begin|>": "<|tool_calls_section_end|>",  # Kimi K2
    "<|tool_call_begin|>": "<|tool_call_end|>",
    "<|START_ACTION|>": "<|END_ACTION|>",  # Command A, Command R7B
    "<|action_start|>": "<|action_end|>",  # InternLM
    "<|python_start|>": "<|python_end|>",  # Llama 4
    "<|python_tag|>": "<|eom_id|>",  # Llama 3
    "<｜tool▁calls▁begin｜>": "<｜tool▁calls▁end｜>",  # DeepSeek  # noqa: RUF001 - its own characters
    "<|tool▁calls▁begin|>": "<|tool▁calls▁end|>",
    "<｜DSML｜function_calls>": "</｜DSML｜function_calls>",  # noqa: RUF001
    "[TOOL_CALLS]": "</s>",  # Mistral; the call is the last thing in a reply
}
"""What opens a call, or several, and what closes it."""

HARMONY: Final = ("<|start|>", "<|channel|>")
"""What opens the head of a message of gpt-oss."""

HEADERS: Final = {
    **dict.fromkeys(HARMONY, "<|message|>"),
    "<|im_start|>": "\n",
    "<|im_assistant|>": "<|im_middle|>",
    "<|start_header_id|>": "<|end_header_id|>",
    "<|start_of_role|>": "<|end_of_role|>",
    "<start_of_turn>": "\n",
    "<|turn>": "\n",
}
"""What opens the head of a message, and what closes it. The head names whose message it is."""

FOREIGN: Final = ("<|user|>", "<|system|>", "<|observation|>", "<|im_user|>", "<|im_system|>", "<|USER_TOKEN|>")
"""What opens a message of somebody else: the model plays the caller, and its own reply is over."""

ASIDES: Final = (
    *("<s>", "</s>", "<bos>", "<eos>", "<pad>", "<end_of_turn>", "<turn|>", "<seed:bos>", "<seed:eos>"),
    *("[INST]", "[/INST]", "<answer>", "</answer>", "<response>", "</response>"),
)
"""Marks that are dropped while the text around them is spoken, as every other `<|token|>` is."""

BARE: Final = re.compile(r"analysis(?=[A-Z<\"'(])|functools(?=\[)")
"""What only the beginning of a reply may hold: gpt-oss's channel of thoughts from a server that drops special tokens
but not their text ("analysisWe need to...assistantfinalHello."), and the calls of Phi and Firefunction."""

BARE_WORDS: Final = ("analysis", "functools")

LITERALS: Final = tuple(
    sorted({*THOUGHTS, *THOUGHTS.values(), *CALLS, *CALLS.values(), *HEADERS, *FOREIGN, *ASIDES}, key=len, reverse=True)
)

LONGEST: Final = 64

TOKEN: Final = rf"<[|｜][^\s<>]{{1,{LONGEST - 4}}}[|｜]>"  # noqa: RUF001

TOKEN_BEGINS: Final = re.compile(rf"<[|｜][^\s<>]{{0,{LONGEST - 4}}}")  # noqa: RUF001

MARK: Final = re.compile("|".join((*map(re.escape, LITERALS), TOKEN)))


def is_special(mark: str) -> bool:
    """Return whether a mark is one no model writes about: a token of its template, and not a tag made of letters."""
    return any(character in mark for character in "|｜◁") or mark.isupper()  # noqa: RUF001


@cache
def any_of(marks: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern that finds the first of some marks."""
    return re.compile("|".join(map(re.escape, marks)))


def tail(text: str, marks: tuple[str, ...] | None = None, *, bare: bool = False) -> int:
    """Return how many of a text's last characters may be the beginning of a mark.

    Args:
        text: Without a whole mark at its end.
        marks: The marks that may come; None for all.
        bare: Whether the whole text may be the beginning of a bare word.
    """
    if bare and text in _beginnings(BARE_WORDS):
        return len(text)
    beginnings = _beginnings(LITERALS if marks is None else marks)
    for at in range(max(0, len(text) - LONGEST), len(text)):
        rest = text[at:]
        if rest in beginnings or (marks is None and rest[0] == "<" and TOKEN_BEGINS.fullmatch(rest)):
            return len(rest)
    return 0


@cache
def _beginnings(marks: tuple[str, ...]) -> frozenset[str]:
    return frozenset(mark[:end] for mark in marks for end in range(1, len(mark) + 1))
