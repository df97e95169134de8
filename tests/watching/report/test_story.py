"""What a report knows of a call, from its recording."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.recorded_calls import MARKUP
from voicepipe.errors import RecordingError
from voicepipe.timeline import CONTRIBUTIONS, Timeline
from voicepipe.watching.report.content import without_content
from voicepipe.watching.report.notes import note_of
from voicepipe.watching.report.page import page
from voicepipe.watching.report.records import Records, read_records, reading
from voicepipe.watching.report.spans import spans_of
from voicepipe.watching.report.stats import figures_of, stats_of
from voicepipe.watching.report.story import Story, story_of, unheard
from voicepipe.watching.report.tables import tables_of
from voicepipe.watching.report.waterfall import waterfall_svg

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def story(recording: Path) -> Story:
    return story_of(read_records(recording))


def test_each_turn_has_its_words_its_times_and_its_outcome(story: Story) -> None:
    """Who said what from when on, how it ended, and how long the caller waited: as it was, to the microsecond."""
    assert [(one.turn_id, one.outcome, one.spoke_s, one.user_text, one.waited_s) for one in story.turns] == [
        (1, "completed", None, "", None),
        (2, "interrupted", 3.6, "How much is the tea?", 0.7),
        (3, "completed", 9.4, "Stop. How much is gold?", 0.5),
        (4, "completed", 17.6, "My code is seven eight nine one six", 1.54),
        (5, "completed", 26.4, f"Thanks. {MARKUP}", 1.54),
    ]
    cut = story.turns[1]
    assert (cut.by, cut.heard) == ("caller", "Let me look. It is two euros a bag. You can also")
    assert cut.unheard == "have it in a tin of half a kilo, which is nine."
    assert cut.said[0] == (5.56, "Let me look.")
    assert story.speech[:2] == [(3.6, 4.9), (7.0, 7.4)]
    assert story.held == [(7.3, 8.0), (9.7, 9.8), (13.7, 14.6)]
    assert story.ends_s == 32.0


def test_what_each_part_did_belongs_to_its_turn(story: Story) -> None:
    """Requests with their replies, tools with their results, sentences with their audio."""
    turn = story.turns[1]
    first, second = turn.requests
    assert (first.asked_s, first.first_s, first.text, first.finish_reason) == (5.1, 5.35, "Let me look.", "tool_calls")
    assert first.calls == {0: ["price", '{"what": "tea"}']}
    assert len(second.messages) == len(first.messages) + 1
    (run,) = turn.tools
    assert (run.name, run.status, run.result, run.gave_s) == ("price", "done", "tea: 2 euros a bag", 5.86)
    assert [(one.text.strip(), one.audio_s) for one in turn.sentences][:2] == [
        ("Let me look.", 0.72),
        ("It is two euros a bag.", 1.32),
    ]
    assert [run.status for run in story.turns[2].tools] == ["failed"]


def test_a_dropped_draft_is_apart_from_the_turn(story: Story) -> None:
    """The request for the first half of a number, and what the voice was given for it, are no part of the reply."""
    turn = story.turns[3]
    assert [one.request_id for one in turn.dropped] == [5]
    assert [one.request_id for one in turn.requests] == [6]
    assert len(turn.dropped_sentences) == len(turn.sentences) == 2
    assert all(one.asked_s < turn.started_s for one in turn.dropped_sentences)


def test_what_happens_between_is_noted(story: Story) -> None:
    """Pauses, a back-channel and the interruption are notes of the turn in which they happened."""
    assert [(one.at_s, one.kind, one.turn_id) for one in story.notes] == [
        (7.3, "Paused", 2),
        (7.7, "Backchannel", 2),
        (8.0, "Resumed", 2),
        (9.7, "Paused", 2),
        (9.8, "TurnInterrupted", 2),
        (13.7, "Paused", 3),
        (14.6, "Resumed", 3),
    ]


def test_nothing_that_was_said_is_left_without_content(story: Story) -> None:
    """Words of callers, agents, tools and prompts are gone; times, names and the number of words remain."""
    quiet = without_content(story)
    assert [turn.waited_s for turn in quiet.turns] == [turn.waited_s for turn in story.turns]
    assert quiet.turns[1].user_text == "(5 words)"
    assert quiet.turns[1].tools[0].name == "price"
    shown = repr(quiet)
    assert [word for word in ("tea", "gold", "euros", "Thank", "Mhm", "code", "Welcome") if word in shown] == []
    assert "tea" in repr(story)  # the story itself stays as it is


def records(*events: dict[str, Any], exchanges: tuple[dict[str, Any], ...] = ()) -> Records:
    return Records(name="call", manifest={}, events=events, exchanges=exchanges)


def asked(at_s: float, request_id: int, turn_id: int, step: int = 0) -> dict[str, Any]:
    return {"t_s": at_s, "kind": "ModelAsked", "request_id": request_id, "turn_id": turn_id, "step": step}


def started(at_s: float, turn_id: int, text: str = "Hello") -> dict[str, Any]:
    return {"t_s": at_s, "event": "TurnStarted", "turn_id": turn_id, "user_text": text}


def dropped(at_s: float, turn_id: int) -> dict[str, Any]:
    return {"t_s": at_s, "kind": "DraftDropped", "turn_id": turn_id}


def test_a_draft_becomes_a_turn_or_is_dropped() -> None:
    """A draft that is committed is the turn's, one that is dropped is not, and one at the call's end is neither."""
    drafts = asked(0.5, 1, 1), dropped(0.9, 1), asked(1.8, 2, 2), asked(2.5, 3, 2, step=1), asked(3.0, 4, 3)
    story = story_of(records(started(1.0, 1, ""), started(2.0, 2), exchanges=drafts))
    assert [[one.request_id for one in turn.dropped] for turn in story.turns] == [[1], []]
    assert story.turns[0].dropped[0].dropped_s == 0.9
    assert [[one.request_id for one in turn.requests] for turn in story.turns] == [[], [2, 3]]
    assert [one.request_id for one in story.drafts] == [4]
    assert [turn.outcome for turn in story.turns] == ["open", "open"]


def test_a_failed_turn_says_why() -> None:
    """Its error has its class and its message; without content only the class is left, because a message may quote."""
    error = {"type": "VendorError", "message": "the service says: Hello", "vendor": "acme", "retryable": True}
    failed = {"t_s": 2.0, "event": "TurnFailed", "turn_id": 1, "user_text": "Hello", "error": error}
    retried = {"t_s": 1.5, "event": "RequestRetried", "turn_id": 1, "error": error}
    story = story_of(records(started(1.0, 1), retried, failed))
    (turn,) = story.turns
    assert (turn.outcome, turn.error) == ("failed", "VendorError: the service says: Hello")
    assert [(note.kind, note.who, note.content) for note in turn.notes] == [
        ("RequestRetried", "trouble", turn.error),
        ("TurnFailed", "trouble", turn.error),
    ]
    assert without_content(story).turns[0].error == "VendorError"
    stats = stats_of(records(), story)
    assert (stats.turns, stats.troubles) == ({"failed": 1}, {"RequestRetried": 1, "TurnFailed": 1})


@pytest.mark.parametrize(
    ("generated", "heard", "rest"),
    [
        ("One two. Three.", "One two.", "Three."),
        ("It is **very** good. Yes.", "It is very good.", "Yes."),
        ("One  two\nthree", "One two", "three"),
        ("All of it.", "All of it.", ""),
        ("Never heard.", "", "Never heard."),
        ("Another text.", "Something else", ""),
    ],
)
def test_what_was_not_heard(generated: str, heard: str, rest: str) -> None:
    """It begins after the last character that was heard, whatever markup and white space came before."""
    assert unheard(generated, heard) == rest


def test_an_event_of_a_newer_version_is_still_noted() -> None:
    """It has the words of its name, and an event that lacks a field says what it can."""
    newer = note_of({"t_s": 1.0, "event": "LinePickedUp"})
    assert newer is not None
    assert newer.text == "Line picked up"
    older = note_of({"t_s": 1.0, "event": "Paused", "turn_id": 1})
    assert older is not None
    assert older.text == "Paused after"


def test_a_record_that_is_not_ours_is_a_damaged_recording() -> None:
    """What lacks its fields is reported with the recording's name, as any other damage."""
    with pytest.raises(RecordingError, match=r"call.vprec is damaged: .* it has no 'turn_id'"), reading("call.vprec"):
        story_of(records({"t_s": 1.0, "event": "TurnStarted"}))


JSON = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)


@settings(max_examples=60)
@given(st.data())
@pytest.mark.slow
def test_damage_of_any_kind_is_an_error_about_the_recording(recording: Path, data: st.DataObject) -> None:
    """Whatever stands in a record in place of what was written: there is a report, or one error that says so."""
    whole = read_records(recording)
    kind = data.draw(st.sampled_from(["events", "exchanges"]))
    lines = [dict(line) for line in getattr(whole, kind)]
    line = data.draw(st.sampled_from(lines))
    field = data.draw(st.sampled_from(sorted(set(line) - {"t_s"})))
    if data.draw(st.booleans()):
        del line[field]
    else:
        line[field] = data.draw(JSON)
    damaged = replace(whole, **{kind: lines}, sides=())
    with suppress(RecordingError), reading("call.vprec"):
        story = story_of(damaged)
        stats = stats_of(damaged, story)
        page(damaged, story, figures=figures_of(stats))
        waterfall_svg([turn for turn in story.turns if turn.spans])
        list(tables_of(stats))


MARKS = st.dictionaries(
    st.sampled_from([*CONTRIBUTIONS, "llm_request_2", "tool_called_2", "tools_done_2", "stage:Redact", "stage:B_2"]),
    st.integers(0, 3_000_000).map(lambda us: us / 1e6),
)


@given(MARKS)
def test_the_stretches_of_a_wait_are_its_contributions(marks: dict[str, float]) -> None:
    """Whatever marks there are, the stretches add up to what the timeline says, without a gap and in order."""
    timeline = Timeline()
    for name, at_s in marks.items():
        timeline.mark(name, at_s)
    contributions = {name: us / 1e6 for name, us in timeline.contributions_us.items()}
    spans = spans_of(timeline.marks, contributions)
    spent: dict[str, int] = {}
    for span in spans:
        spent[span.name] = spent.get(span.name, 0) + round(span.end_s * 1e6) - round(span.start_s * 1e6)
    assert spent == {name: us for name, us in timeline.contributions_us.items() if us}
    assert [one.end_s for one in spans[:-1]] == [one.start_s for one in spans[1:]]
    if spans:
        assert spans[0].start_s == marks["speech_ended"]
