"""What calls cost, by prices that the application gives: voicepipe knows none, because they change."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["ModelPrice", "Prices", "read_prices", "with_models"]

EXAMPLE = "--price gpt-5.2=1.25,10"


class ModelPrice(NamedTuple):
    """The price of a model.

    Attributes:
        input: Of a million tokens of requests.
        output: Of a million tokens of replies.
    """

    input: float
    output: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices, all in one currency.

    Attributes:
        currency: Its name, as it is shown.
        models: By the model's name as `ModelUsage.model` has it, or by the beginning of it.
        recogniser_per_minute: Of a minute of the call; None if it is not known.
        voice_per_minute: Of a minute of audio that the voice gave; None if it is not known.
        voice_per_million_characters: Of a million characters that the voice was given; None if it is not known.
    """

    currency: str = "USD"
    models: Mapping[str, ModelPrice] = field(default_factory=dict[str, ModelPrice])
    recogniser_per_minute: float | None = None
    voice_per_minute: float | None = None
    voice_per_million_characters: float | None = None

    def of_model(self, name: str) -> ModelPrice | None:
        """Return the price of a model: by its name, or by the longest beginning of it that has one."""
        known = [beginning for beginning in self.models if name.startswith(beginning)]
        return self.models[max(known, key=len)] if known else None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Model(_Strict):
    input: float = Field(ge=0)
    output: float = Field(ge=0)


class _Recogniser(_Strict):
    per_minute: float = Field(ge=0)


class _Voice(_Strict):
    per_minute: float | None = Field(default=None, ge=0)
    per_million_characters: float | None = Field(default=None, ge=0)


class _File(_Strict):
    currency: str = "USD"
    models: dict[str, _Model] = Field(default_factory=dict[str, _Model])
    recogniser: _Recogniser | None = None
    voice: _Voice = Field(default_factory=_Voice)


def read_prices(path: Path) -> Prices:
    """Return the prices of a file, TOML or, if its name ends with ".json", JSON.

    Raises:
        ConfigurationError: It cannot be read, or holds something else than prices.
    """
    try:
        text = path.read_text(encoding="utf-8")
        read: object = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        file = _File.model_validate(read)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}; name a file with prices") from error
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"])) or "the file"
        raise ConfigurationError(f"{path}: {place}: {wrong['msg']}; docs/reports.md shows a file") from None
    except ValueError as error:  # of JSON, of TOML, of UTF-8
        raise ConfigurationError(f"{path}: neither TOML nor JSON with prices: {error}") from error
    return Prices(
        currency=file.currency,
        models={name: ModelPrice(price.input, price.output) for name, price in file.models.items()},
        recogniser_per_minute=file.recogniser.per_minute if file.recogniser else None,
        voice_per_minute=file.voice.per_minute,
        voice_per_million_characters=file.voice.per_million_characters,
    )


def with_models(prices: Prices, given: Iterable[str]) -> Prices:
    """Return prices with those of models that are written as "gpt-5.2=1.25,10".

    Raises:
        ConfigurationError: One is written otherwise.
    """
    models = dict(prices.models)
    for text in given:
        name, equals, written = text.rpartition("=")
        try:
            price = ModelPrice(*(float(part) for part in written.split(",")))
        except (TypeError, ValueError):
            price = None
        if price is None or not equals or not name or not all(0 <= part < float("inf") for part in price):
            raise ConfigurationError(
                f"--price takes a model with its prices of a million tokens in and out, e.g. {EXAMPLE}, not {text!r}"
            )
        models[name] = price
    return replace(prices, models=models)
