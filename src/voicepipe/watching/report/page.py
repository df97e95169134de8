"""A call as one HTML page, which opens from disk and reaches for nothing.

Rule 1: words of a call are never markup. They are in one block of JSON, in which no `<` is written as such, and the
        script of the page sets them as text; its policy lets nothing else run, and nothing be loaded or sent.
Rule 2: the page is drawn by its own script: no library knows the axis that sound, words and waits share, and a general
        one for charts would be larger than the page. So there is no licence of others to keep to.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from voicepipe.watching.report.notes import INTERRUPTERS
from voicepipe.watching.report.sound import BUCKET_S, SideSound
from voicepipe.watching.report.spans import DOES, WORDS
from voicepipe.watching.telemetry.outcomes import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voicepipe.watching.report.records import Records
    from voicepipe.watching.report.story import Story
    from voicepipe.watching.report.turn_story import Asking, Spoken, TurnStory

__all__ = ["file_text", "filled", "json_block", "page", "policy"]

SCRIPTS: Final = ("sound.js", "axis.js", "lanes.js", "turns.js", "report.js")
SIDES: Final = ("caller", "agent")


def page(records: Records, story: Story, *, figures: Iterable[tuple[str, str]] = (), with_audio: bool = True) -> str:
    """Return the page of a call.

    Args:
        records: The records of the call.
        story: What happened in it; words that it leaves out are not on the page.
        figures: What the page shows at its top: a name and a value each.
        with_audio: Whether the sound is in it.
    """
    sounds = {side: _sound(records, side, is_heard=with_audio) for side in SIDES if side in records.sides}
    style = file_text("report.css")
    script = "".join(f"\n// --- {name} ---\n{file_text(name)}" for name in SCRIPTS)
    call = {
        **_facts(records, story),
        "figures": list(figures),
        "bucket": BUCKET_S,
        "sides": list(sounds),
        "rate": max((one.rate for one in sounds.values()), default=0) if with_audio else 0,
    }
    shapes = [_block(f"shape-{side}", zlib.compress(one.shape)) for side, one in sounds.items()]
    kept = [_block(f"sound-{side}", one.packed()) for side, one in sounds.items()] if with_audio else []
    return filled(
        file_text("report.html"),
        {
            "policy": escape(policy(script, style)),
            "title": escape(f"{records.name}: a call"),
            "style": style,
            "call": json_block(call),
            "script": script,
            "shapes": "\n".join(shapes),
            "sound": "\n".join(kept),
        },
    )


def _sound(records: Records, side: str, *, is_heard: bool) -> SideSound:
    sound = SideSound(records.rate, is_heard=is_heard)
    for piece in records.audio(side):
        sound.feed(piece)
    return sound


def policy(script: str, style: str) -> str:
    """Return the policy of a page with one script and one style, which may play what it unpacks, and nothing else."""
    script_hash, style_hash = (b64encode(sha256(text.encode()).digest()).decode() for text in (script, style))
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; media-src blob:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with a value for each `{{name}}`; what looks like a name within a value stays as it is."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)


def json_block(value: object) -> str:
    """Return JSON that can stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    # Half of a surrogate pair, which a broken message may hold, has no UTF-8.
    text = re.sub(r"[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def file_text(name: str) -> str:
    """Return a file that pages are made of."""
    return (files("voicepipe.watching.report") / "files" / name).read_text(encoding="utf-8")


def _block(name: str, data: bytes) -> str:
    return f'<script type="text/plain" id="{name}">{b64encode(data).decode()}</script>'


# --- what the script draws --------------------------------------------------------------------------------------------


def _facts(records: Records, story: Story) -> dict[str, Any]:
    manifest = records.manifest
    ended: Mapping[str, Any] = manifest.get("ended") or {}
    pool = _Pool()
    return {
        "name": records.name,
        "id": manifest.get("id", ""),
        "began": manifest.get("began", ""),
        "length": story.ends_s,
        "reason": _reason(str(ended.get("reason") or ""), story),
        "isCut": records.is_cut,
        "isRedacted": bool(manifest.get("redacted")),
        "hasContent": story.has_content,
        "parts": (manifest.get("agent") or {}).get("parts", []),
        "facts": manifest.get("facts") or {} if story.has_content else {},
        "words": WORDS,
        "does": DOES,
        "turns": [_turn(turn, story, pool) for turn in story.turns],
        "drafts": [_asking(asking, story.ends_s, pool) for asking in story.drafts],
        "notes": [
            {"at": note.at_s, "kind": note.kind, "who": note.who, "text": note.text, "content": note.content,
             "turn": note.turn_id}
            for note in story.notes
        ],
        "speech": story.speech,
        "held": story.held,
        "messages": pool.messages,
    }  # fmt: skip


def _reason(reason: str, story: Story) -> str:
    """Return why the call ended; that of an error may quote what was said."""
    return reason if story.has_content or reason in REASONS else "an error" if reason else ""


class _Pool:
    """Messages that many requests share: each is on the page once."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self._numbers: dict[str, int] = {}

    def number(self, message: object) -> int:
        key = json.dumps(message, sort_keys=True, default=str)
        if key not in self._numbers:
            self._numbers[key] = len(self.messages)
            self.messages.append(message)
        return self._numbers[key]


def _turn(turn: TurnStory, story: Story, pool: _Pool) -> dict[str, Any]:
    until_s = story.ends_s if turn.ended_s is None else turn.ended_s
    return {
        "id": turn.turn_id,
        "outcome": turn.outcome,
        "by": INTERRUPTERS.get(turn.by, turn.by),
        "spoke": turn.spoke_s,
        "started": turn.started_s,
        "ended": until_s,
        "user": turn.user_text,
        "heard": turn.heard,
        "unheard": turn.unheard,
        "heardS": turn.heard_s,
        "waited": turn.waited_s,
        "answered": turn.answered_s,
        "spans": turn.spans,
        "marks": sorted(turn.marks.items(), key=lambda mark: mark[1]),
        "requests": [_asking(asking, until_s, pool) for asking in turn.requests],
        "dropped": [_asking(asking, until_s, pool) for asking in turn.dropped],
        "sentences": [_spoken(spoken, until_s) for spoken in turn.sentences],
        "droppedSentences": [_spoken(spoken, until_s) for spoken in turn.dropped_sentences],
        "tools": [
            {"name": run.name, "arguments": run.arguments, "asked": run.asked_s, "status": run.status,
             "until": until_s if run.gave_s is None else run.gave_s, "result": run.result}
            for run in turn.tools
        ],
        "said": turn.said,
        "error": turn.error,
        "finish": turn.finish_reason,
    }  # fmt: skip


def _asking(asking: Asking, until_s: float, pool: _Pool) -> dict[str, Any]:
    return {
        "id": asking.request_id,
        "asked": asking.asked_s,
        "first": asking.first_s,
        "until": _end(asking, until_s),
        "isCancelled": asking.ended_s is None,
        "system": asking.system,
        "messages": [pool.number(message) for message in asking.messages],
        "tools": list(asking.tools),
        "text": asking.text,
        "calls": list(asking.calls.values()),
        "finish": asking.finish_reason,
        "error": asking.error,
    }


def _spoken(spoken: Spoken, until_s: float) -> dict[str, Any]:
    return {
        "text": spoken.text,
        "voice": spoken.voice,
        "asked": spoken.asked_s,
        "first": spoken.first_s,
        "until": _end(spoken, until_s),
        "audio": spoken.audio_s,
        "error": spoken.error,
    }


def _end(one: Asking | Spoken, until_s: float) -> float:
    """Return when the work of a part had ended: by itself, with its draft, or with its turn."""
    ends_s = (end_s for end_s in (one.ended_s, one.dropped_s) if end_s is not None)
    return max(one.asked_s, min(ends_s, default=until_s))
