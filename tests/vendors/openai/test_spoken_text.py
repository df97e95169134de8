"""Thoughts, calls written as text and control tokens are not spoken; ordinary text goes on at once."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicepipe.vendors.openai.control_marks import BARE_WORDS, CALLS, THOUGHTS
from voicepipe.vendors.openai.spoken_text import SpokenText

ANSWER = "Hello there."
THOUGHT = 'The user greets me. {"a": 1} <b> [x] \n\n I say hello.'
CALL = '{"name": "look", "parameters": {"city": "Lyon } ]"}}'


def read(*deltas: str, spoken: SpokenText | None = None, keeps_json: bool = False) -> str:
    spoken = spoken or SpokenText(keeps_json=keeps_json)
    return "".join((*map(spoken.feed, deltas), spoken.end()))


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted(place % (len(text) + 1) for place in places)
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


HARMONY = f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>"
PREAMBLE = "<|channel|>commentary<|message|>Let me see. <|end|>"

SPOKEN = {
    **{f"{opens} {closes}": (f"{opens}{THOUGHT}{closes}{ANSWER}", ANSWER) for opens, closes in THOUGHTS.items()},
    **{f"{opens} {closes}": (f"{opens}{CALL}{closes}{ANSWER}", ANSWER) for opens, closes in CALLS.items()},
    "blank thoughts": ("<think>\n\n</think>\n\nHello there.", ANSWER),
    "white space before the thoughts": ("\n <think>Hm.</think> Hello there.", ANSWER),
    "thoughts and again": ("<think>a</think>\n<think>b</think>\nHello there.", ANSWER),
    "thoughts on a line of their own": ("One.\n<think>Hm.</think>\nTwo.", "One.\nTwo."),
    "thoughts that mention another pair": ("<think>not [/THINK] yet</think>Hello there.", ANSWER),
    "thoughts that never end": ("<think>Hello there.", ""),
    "thoughts whose beginning was taken for the reply": ("Hm.\n</think>\n\nHello there.", "Hm.\nHello there."),
    "a mark that ends no thoughts": ("</think>\n\nHello there.", ANSWER),
    "channels": (f"{HARMONY}Hello there.<|return|>", ANSWER),
    "channels from the role on": (f"<|start|>assistant{HARMONY}Hello there.<|end|>", ANSWER),
    "channels without an end of the thoughts": (HARMONY.replace("<|end|>", "") + ANSWER, ANSWER),
    "words before a call": (f"{PREAMBLE}{HARMONY}Hello there.", "Let me see. Hello there."),
    "a channel's call": (
        f"{PREAMBLE}<|start|>assistant<|channel|>commentary to=functions.look json<|message|>{CALL}<|call|>",
        "Let me see. ",
    ),
    "a channel's call, named with the role": (
        f"<|start|>assistant to=functions.look<|channel|>commentary json<|message|>{CALL}<|call|>",
        "",
    ),
    "channels without their tokens": ("analysisThe user greets me.assistantfinalHello there.", ANSWER),
    "channels without some of their tokens": (f"analysis<|message|>Hm.<|end|>{HARMONY}{ANSWER}", ANSWER),
    "a call in channels without tokens": (f"analysisHm.assistantcommentary to=functions.look json{CALL}", ""),
    "a token at the end": ("Hello there.<|im_end|>", ANSWER),
    "tokens that end a message": ("Hello there.</s><|eot_id|><end_of_turn><turn|>", ANSWER),
    "a token of DeepSeek's": ("Hello there.<\uff5cend\u2581of\u2581sentence\uff5c>", ANSWER),
    "an unknown token": ("Hello <|new_token|>there.", ANSWER),
    "a token between two words": ("Hello<|x|> there.", ANSWER),
    "a header": ("<|im_start|>assistant\nHello there.<|im_end|>", ANSWER),
    "a header of Llama": ("<|start_header_id|>assistant<|end_header_id|>\n\nHello there.<|eot_id|>", ANSWER),
    "a header of Gemma": ("<start_of_turn>model\nHello there.<end_of_turn>", ANSWER),
    "a reply of the caller": (
        "Hello there.<|im_end|><|im_start|>user\nBye!<|im_end|><|im_start|>assistant\nBye.",
        ANSWER,
    ),
    "a reply of the caller, in Phi's marks": ("Hello there.<|end|><|user|>Bye!<|end|><|assistant|>Bye.", ANSWER),
    "a reply in a tag": ("<think>Hm.</think>\n<answer>\nHello there.</answer>", ANSWER),
    "a call without an end": ('[TOOL_CALLS]look[ARGS]{"city": "Lyon"}', ""),
    "a call of XML": ("<tool_call>look\n<arg_key>city</arg_key>\n<arg_value>Lyon</arg_value>\n</tool_call>", ""),
    "a call after words": (f"Let me see. <tool_call> {CALL}</tool_call>", "Let me see. "),
    "a call as JSON": (CALL, ""),
    "calls as JSON": (f"{CALL}; {CALL}\nHello there.", ANSWER),
    "a list of calls": (f"[{CALL}, {CALL}]", ""),
    "a call as JSON after words": (f"Let me see. {CALL} Hello there.", "Let me see. Hello there."),
    "a call in a fence": (f"```json\n{CALL}\n```\nHello there.", ANSWER),
    "a call of OpenAI's": (json.dumps({"type": "function", "function": {"name": "look", "arguments": "{}"}}), ""),
    "a list of OpenAI's": (json.dumps({"tool_calls": [{"id": "1", "name": "look", "arguments": {}}]}), ""),
    "a call as Python": ('[look(city="Lyon"), wait()]', ""),
    "a call of Phi's": (f" functools[{CALL}]", ""),
    "a call that is cut off": (CALL[:-5], ""),
    "a call as JSON of any length": ('{"name": "look", "parameters": {"city": "%s"}}' % ("x" * 5000), ""),
}


@pytest.mark.parametrize(("text", "spoken"), SPOKEN.values(), ids=SPOKEN)
@pytest.mark.slow
def test_only_what_is_meant_for_the_caller_is_spoken(text: str, spoken: str) -> None:
    """Thoughts, calls and control tokens are left out, whole or in pieces of one character."""
    assert read(text) == spoken
    assert read(*text) == spoken


@given(st.sampled_from(list(SPOKEN.values())), st.lists(st.integers(0, 200)))
def test_the_deltas_do_not_matter(row: tuple[str, str], places: list[int]) -> None:
    """However the marks are cut, the same text is spoken."""
    text, spoken = row
    assert read(*cut(text, places)) == spoken


@given(
    st.lists(
        st.sampled_from(
            [*THOUGHTS, *THOUGHTS.values(), *CALLS, "<|im_start|>", "<|start|>", "<|x|>", CALL, *'<|[{`" \n']
        )
        | st.text(max_size=6)
    ),
    st.lists(st.integers(0, 400)),
)
@example(["<", "think>"], [1])
def test_the_deltas_do_not_matter_to_nonsense(pieces: list[str], places: list[int]) -> None:
    """Marks in any order are read alike in one piece and in many, and nothing is spoken that was not written."""
    text = "".join(pieces)
    spoken = read(text)
    assert read(*cut(text, places)) == spoken
    assert re.search(".*".join(map(re.escape, spoken)), text, re.DOTALL)


PLAIN = {
    "words": "Hello there. It is 5 o'clock.",
    "a sum": "1 < 2, 2 > 1, a <b and c",
    "brackets": "[1] and [laughs], [a link](there), {x} and `code`",
    "a fence": "```python\nprint(1)\n```",
    "white space around": "  Hello.\n\n",
    "HTML": "It is <b>bold</b>.",
    "tags that are talked about": "The tag <think> begins thoughts, and </think> ends them.",
    "tags in quotes": 'It writes "<tool_call>", `</tool_call>`, or (</s>).',
    "data": '{"name": "Bob", "age": 3} and [{"type": "x"}] and {"a": 1}',
    "a formula": "[f(x)](y) and [g (x)]",
    "a lower case beginning": "analysis of the data, functools is a module",
    "the beginning of a mark at the end": "Is 1 <",
    "the beginning of a token at the end": "Is it <|im",
    "Greek": "Καλημέρα ◁ κόσμε",
}


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_other_text_is_unchanged(text: str) -> None:
    """Text that only looks like a mark is spoken as it came, whole or in pieces of one character."""
    assert read(text) == text
    assert read(*text) == text


@given(st.lists(st.text(st.characters(exclude_characters="<[{`◁", exclude_categories=["Cs"]))))
@example(["a", "nalysis"])
def test_ordinary_text_is_not_held_back(deltas: list[str]) -> None:
    """Each delta is given at once, from the first word on, unless the reply begins as no sentence does."""
    spoken, written, given_so_far = SpokenText(), "", ""
    for delta in deltas:
        written += delta
        given_so_far += spoken.feed(delta)
        first = written.lstrip(" \t\r\n")
        may_be_mark = any(word.startswith(first) or first.startswith(word) for word in BARE_WORDS)
        if first.strip() and not may_be_mark:
            assert given_so_far == written


def test_the_first_word_after_thoughts_is_given_at_once() -> None:
    """What follows the mark that ends the thoughts is given with the delta in which it comes."""
    spoken = SpokenText()
    assert [spoken.feed(delta) for delta in ("<think>Hm", ".</thi", "nk>\n", "\nHel", "lo")] == [
        "",
        "",
        "",
        "Hel",
        "lo",
    ]


@pytest.mark.parametrize("closes", THOUGHTS.values())
def test_a_reply_may_begin_in_its_thoughts(closes: str) -> None:
    """With `begins_in_thoughts` nothing before the first closing mark is spoken, with or without an opening one."""
    for opens in ("", "<think>\n"):
        spoken = SpokenText(begins_in_thoughts=True)
        assert read(*f"{opens}{THOUGHT}\n{closes}\n\n{ANSWER}", spoken=spoken) == ANSWER


def test_a_whole_text_need_not_be_announced() -> None:
    """Of a text that is there as a whole it can be seen that it begins in its thoughts."""
    for text, answer in ((f"Hm.\n</think>{ANSWER}", ANSWER), ("The tag </think> ends.", "The tag </think> ends.")):
        spoken = SpokenText()
        spoken.foresee(text)
        assert read(text, spoken=spoken) == answer


@pytest.mark.parametrize("text", [CALL, f"[{CALL}]", f"```json\n{CALL}\n```"])
def test_data_that_was_asked_for_is_kept(text: str) -> None:
    """JSON that looks like a call stays where JSON was asked for; thoughts and tokens around it do not."""
    assert read(f"<think>Hm.</think>\n{text}<|im_end|>", keeps_json=True) == text


@pytest.mark.slow
def test_a_call_that_is_too_long_is_text() -> None:
    """What looks like a call is not held back for ever."""
    text = '{"name": "look", "parameters": {"city": "%s"}}' % ("x" * 9000)
    assert read(text) == text
    assert read(*text) == text


FAULTS = {
    "a call": (CALL, "wrote a tool call as text (JSON), which did not run; turn on the server's tool parser"),
    "a call in a tag": (f"<tool_call>{CALL}</tool_call>", "wrote a tool call as text (<tool_call>)"),
    "a call after thoughts": (f"<think>Hm.</think>[TOOL_CALLS][{CALL}]", "wrote a tool call as text ([TOOL_CALLS])"),
    "a call of a channel": (HARMONY.replace("final", "commentary to=functions.look"), "as text (<|start|>)"),
    "the end of a call": ("</tool_call>", "as text (</tool_call>)"),
    "a token": ("<|im_end|>", "sent control text alone (<|im_end|>); check the server's chat template"),
    "an open header": ("<|channel|>final Hello there.", "sent control text alone (<|channel|>)"),
    "thoughts that were cut": ("<think>Hm", "did not end its thoughts; raise max_tokens"),
    "thoughts and no answer": ("<think>Hm.</think>", ""),
    "nothing": ("", ""),
    "blanks": (" \n", ""),
    "words": ("Hello.", ""),
    "words and a call": (f"Hello.<tool_call>{CALL}</tool_call>", ""),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_reply_of_which_nothing_is_spoken_has_a_reason(text: str, fault: str) -> None:
    """The reason names the mark and what to change; a reply that is empty or has words has none."""
    spoken = SpokenText()
    read(*text, spoken=spoken)
    assert spoken.fault().startswith(fault) if fault.startswith(("wrote", "sent", "did")) else fault in spoken.fault()
    assert bool(spoken.fault()) == bool(fault)


def test_thoughts_that_were_expected_and_did_not_end_have_a_reason_of_their_own() -> None:
    """A model that did not think is named as a cause as well."""
    spoken = SpokenText(begins_in_thoughts=True)
    assert read("Hello there.", spoken=spoken) == ""
    assert "leave begins_in_thoughts out" in spoken.fault()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Hm.</think>Hello.", "set begins_in_thoughts=True"),
        (f"Hello.<tool_call>{CALL}</tool_call>", "turn on the server's tool parser"),
        ("Hello.<|im_end|>", ""),
    ],
)
def test_a_reply_that_is_spoken_in_part_has_a_hint(text: str, hint: str) -> None:
    """What the caller heard of the thoughts, or a call that did not run, is known when the reply has ended."""
    spoken = SpokenText()
    read(text, spoken=spoken)
    assert hint in spoken.hint()
    assert bool(spoken.hint()) == bool(hint)
