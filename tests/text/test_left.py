"""What the text on the left, and the way it came, tells about a mark."""

from __future__ import annotations

import pytest

from voicepipe.text.sentences import SentenceSplitter


@pytest.mark.parametrize("hesitation", ["Let me see", "One moment", "Hmm", "Un momento", "Einen Moment", "Even kijken"])
def test_three_dots_that_come_one_by_one_are_an_ellipsis(hesitation: str) -> None:
    """Where a sentence may trail off its dot waits for the next two, so that no sentence begins with dots."""
    splitter = SentenceSplitter()

    assert [splitter.feed(delta) for delta in [hesitation, ".", ".", "."]] == [[], [], [], []]
    assert splitter.feed(" Here it is") == [f"{hesitation}..."]


@pytest.mark.parametrize(
    ("seen", "sentence", "goes_on"),
    [
        (["We", "'", "re", " here", "."], [" See", " fernhill", "."], "example"),
        (["Send", " an", " e", "-", "mail", "."], [" It", " wants", " your", " config", "."], "yaml"),
        (["Use", " a", ".", "b", " now", "."], [" It", " has", " one", " core", "."], "pool"),
    ],
)
def test_a_stream_that_splits_words_at_marks_is_noticed(seen: list[str], sentence: list[str], goes_on: str) -> None:
    """Once a mark inside of a word was a delta of its own, every dot waits for the next delta, which may go on."""
    whole = ["".join(seen), *("".join(sentence) + goes_on).split("|")]
    splitter = SentenceSplitter()

    found = [text for delta in [*seen, *sentence, goes_on, "!"] for text in splitter.feed(delta)]

    assert found == [whole[0], whole[1] + "!"]


def test_a_stream_that_keeps_words_whole_needs_no_lookahead() -> None:
    """Where marks come with the words they belong to, a plain dot is the end of a sentence at once."""
    splitter = SentenceSplitter()

    assert [splitter.feed(delta) for delta in ["I", "'m", " on", " hold", "."]] == [[], [], [], [], ["I'm on hold."]]
    assert [splitter.feed(delta) for delta in [" I", " wait", " on", " it", "."]][-1] == [" I wait on it."]


def test_a_name_that_went_on_with_a_dot_may_do_so_again() -> None:
    """Once "Flex.20" was said, the dot of "Flex." waits for the next delta also where a sentence may end."""
    splitter = SentenceSplitter()
    splitter.feed("You are on Flex.20 now. ")

    assert [splitter.feed(delta) for delta in ["Flex", ".", "50", " is", " more", "."]] == [[]] * 5 + [
        [" Flex.50 is more."]
    ]
