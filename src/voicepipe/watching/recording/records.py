"""Events and exchanges as JSON, and back.

Rule 1: an object is written with the name of its class and its fields, whatever is added to them later; what is read
        back equals what was written.
Rule 2: times on the loop's clock become seconds since the recording began, to the microsecond. Durations stay.
Rule 3: what a program of the application made is written as far as it is plain data, and else by its class alone.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from voicepipe import (
    call_events,
    errors,
    events,
    floor_events,
    flow,
    history,
    listening_events,
    model_events,
    observed,
    tool_events,
    watching_events,
)
from voicepipe.errors import VoicepipeError
from voicepipe.timeline import Timeline
from voicepipe.turntaking import expectation

__all__ = ["Json", "RecordedResult", "RecordedValue", "from_json", "named", "to_json"]

Json: TypeAlias = dict[str, Any]

MOMENTS: Final = frozenset({"at_s", "until_s", "speech_ended_s", "endpoint_s"})
"""Fields that hold a time on the loop's clock."""

MOMENTS_OF: Final = {"Word": MOMENTS | {"start_s", "end_s"}, "AudioFrame": MOMENTS | {"start_s"}}
"""Where other fields do so, too."""

NOT_WRITTEN: Final = frozenset({"session_id", "pcm"})
"""The id is in the manifest, and audio in files of its own."""


class RecordedResult(BaseModel):
    """The result of `structured`, in a recording: the application's model is not there to read it.

    Attributes:
        model: The name of the application's class.
        fields: Its fields, as JSON.
    """

    model: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedValue:
    """An object of the application in a recording: only the name of its class is known.

    Attributes:
        kind: The name.
    """

    kind: str


def _classes() -> dict[str, type]:
    """Return each class that is written with its fields, by its name."""
    modules = (
        flow,
        history,
        events,
        call_events,
        floor_events,
        listening_events,
        model_events,
        tool_events,
        watching_events,
        observed,
        expectation,
    )
    public = {name: getattr(module, name) for module in modules for name in module.__all__}
    found = {
        name: value for name, value in public.items() if isinstance(value, type) and dataclasses.is_dataclass(value)
    }
    return {**found, "RecordedValue": RecordedValue}


CLASSES: Final = _classes()

FOR_TYPES: Final[dict[str, Any]] = {
    "BaseModel": BaseModel,
    "Hearing": flow.Hearing,
    "Mapping": Mapping,
    "Message": history.Message,
    "Need": object,
    "Timeline": Timeline,
    "VoicepipeError": VoicepipeError,
}
"""What their modules import for type checkers alone."""

ERRORS: Final[dict[str, type[VoicepipeError]]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, VoicepipeError)
}


def named(kind: type) -> str:
    """Return the name under which a class is written: its own, or that of the class of ours that it derives from."""
    if (known := _NAMES.get(kind)) is not None:
        return known
    found = next((base.__name__ for base in kind.__mro__ if CLASSES.get(base.__name__) is base), kind.__name__)
    return _NAMES.setdefault(kind, found)


_NAMES: Final[dict[type, str]] = {}


# --- writing ----------------------------------------------------------------------------------------------------------


def to_json(value: object, began_s: float) -> Json:
    """Return an event or an exchange as JSON: its fields, without the name of its class.

    Args:
        value: A dataclass.
        began_s: When the recording began, on the loop's clock.
    """
    written: Json = {}
    for name, is_moment in _fields_of(type(value)):
        field = getattr(value, name)
        if isinstance(field, (str, int)) or field is None:  # also a bool
            written[name] = field
        elif isinstance(field, Timeline):
            written["marks"] = {mark: _rounded(at_s - began_s) for mark, at_s in field.marks.items()}
            written["contributions"] = {what: us / 1e6 for what, us in field.contributions_us.items()}
        elif is_moment and isinstance(field, float):
            written[name] = _rounded(field - began_s)
        else:
            written[name] = _value(field, began_s)
    return written


def _fields_of(kind: type[Any]) -> tuple[tuple[str, bool], ...]:
    """Return the names of the fields that are written, and whether each holds a time."""
    if (known := _FIELDS.get(kind)) is not None:
        return known
    moments = MOMENTS_OF.get(named(kind), MOMENTS)
    written = (field.name for field in dataclasses.fields(kind) if field.init and field.name not in NOT_WRITTEN)
    return _FIELDS.setdefault(kind, tuple((name, name in moments) for name in written))


_FIELDS: Final[dict[type, tuple[tuple[str, bool], ...]]] = {}
_HINTS: Final[dict[type, dict[str, Any]]] = {}


def _value(value: object, began_s: float) -> object:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _value(inner, began_s) for key, inner in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_value(inner, began_s) for inner in cast("list[object]", value)]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, BaseException):
        return _error(value)
    if isinstance(value, RecordedResult):  # a replay is recorded
        return {"type": "RecordedResult", "model": value.model, "fields": value.fields}
    if isinstance(value, BaseModel):
        return {"type": "RecordedResult", "model": type(value).__name__, "fields": value.model_dump(mode="json")}
    if (kind := named(type(value))) in CLASSES and dataclasses.is_dataclass(value):
        return {"type": kind, **to_json(value, began_s)}
    return {"type": "RecordedValue", "kind": type(value).__name__}


def _error(error: BaseException) -> Json:
    plain = {name: value for name, value in vars(error).items() if isinstance(value, (str, bool, int, float))}
    return {"type": type(error).__name__, "message": str(error), **plain}


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


# --- reading ----------------------------------------------------------------------------------------------------------


def from_json(name: str, written: Json) -> Any:  # noqa: ANN401 - whatever the name says
    """Return the object of a class with this name; times count from the beginning of the recording.

    Raises:
        ValueError: There is no such class, or a field is missing or of another type.
    """
    kind = CLASSES.get(name)
    if kind is None:
        raise ValueError(f"unknown kind {name!r}")
    arguments: Json = {}
    for field, hint in _hints_of(kind).items():
        if hint is Timeline:
            arguments[field] = Timeline.from_marks(written.get("marks") or {})
        elif field in written:
            arguments[field] = _read(written[field], hint)
    try:
        return kind(**arguments)
    except (TypeError, VoicepipeError) as error:
        raise ValueError(f"{name}: {error}") from None


def _hints_of(kind: type[Any]) -> dict[str, Any]:
    if (known := _HINTS.get(kind)) is not None:
        return known
    hints = get_type_hints(kind, localns={**CLASSES, **FOR_TYPES})
    return _HINTS.setdefault(kind, {name: hints[name] for name, _ in _fields_of(kind)})


def _read(value: object, hint: Any) -> object:  # noqa: ANN401 - a type of whatever form
    if value is None:
        if hint is float:
            return math.inf
        if _allows_none(hint):
            return None
        raise ValueError("null where a value is needed")
    if isinstance(value, dict):
        return _read_object(cast("Json", value), hint)
    if isinstance(value, list):
        return _read_list(cast("list[object]", value), hint)
    if isinstance(value, int) and not isinstance(value, bool) and (hint is float or float in get_args(hint)):
        return float(value)
    _check_plain(value, hint)
    return value


def _read_object(value: Json, hint: Any) -> object:  # noqa: ANN401
    if hint is Any:  # a service's own JSON
        return value
    if get_origin(hint) in (dict, Mapping):
        of = get_args(hint)[1]
        return {name: field if of is Any else _read(field, of) for name, field in value.items()}
    kind = value.get("type")
    inner = {name: field for name, field in value.items() if name != "type"}
    if kind == "RecordedResult":
        return RecordedResult(**inner)
    if isinstance(kind, str) and (hint is VoicepipeError or VoicepipeError in get_args(hint)):
        return _read_error(kind, inner)
    if isinstance(kind, str) and kind in CLASSES:
        return from_json(kind, inner)
    if hint is object:
        return {name: _read(field, object) for name, field in value.items()}
    raise ValueError(f"an object of the unknown type {kind!r}")


def _read_error(kind: str, fields: Json) -> VoicepipeError:
    of = ERRORS.get(kind, VoicepipeError)
    error = of.__new__(of)
    Exception.__init__(error, fields.get("message", ""))
    for name, value in fields.items():
        if name != "message":
            setattr(error, name, value)
    return error


def _read_list(values: list[object], hint: Any) -> object:  # noqa: ANN401
    if hint is Any:
        return values
    of = (get_args(hint) or (object,))[0]
    read = [_read(value, of) for value in values]
    return tuple(read) if get_origin(hint) is tuple else read


def _check_plain(value: object, hint: Any) -> None:  # noqa: ANN401
    allowed = [hint, *get_args(hint)]
    for kind in (str, bool, int, float):
        if hint is kind and not isinstance(value, kind):
            raise ValueError(f"expected {kind.__name__}, found {type(value).__name__}")
    if any(isinstance(one, type) and dataclasses.is_dataclass(one) for one in allowed):
        raise ValueError(f"expected an object, found {type(value).__name__}")


def _allows_none(hint: Any) -> bool:  # noqa: ANN401
    is_union = get_origin(hint) in (Union, types.UnionType)
    return hint in (object, Any) or (is_union and type(None) in get_args(hint))
