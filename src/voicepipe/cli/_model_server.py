"""Which model a server has, for the options --llm-url and --llm-model. It is asked as `voicepipe doctor` asks."""

from __future__ import annotations

from typing import Final

import voicepipe as vp
from voicepipe.cli.doctor.asking import ask
from voicepipe.cli.doctor.services import services_of
from voicepipe.cli.doctor.verdicts import is_model

__all__ = ["model_at"]

SHOWN: Final = 8
"""Names of models in an error."""


async def model_at(base_url: str, wanted: str | None) -> str:
    """Return the model to ask: the one that is wanted, or the only one that the server has.

    A server that does not list its models is trusted to have the wanted one.

    Args:
        base_url: The server's URL, without `/chat/completions`, e.g. Ollama's http://127.0.0.1:11434/v1.
        wanted: The name of a model; None for the only one.

    Raises:
        ConfigurationError: Nothing answers there; or the server lists no model, or several, or not the wanted one.
    """
    (service,) = services_of(vp.LLMStreamStage(base_url=base_url, model=wanted or "any"))
    answer = await ask(service)
    if answer.error is not None and not answer.status:
        raise vp.ConfigurationError(
            f"--llm-url: no server answers at {base_url} ({answer.error}); start it, e.g. with `ollama serve`"
        ) from answer.error
    names = answer.models
    if names is None:
        if wanted is not None:
            return wanted
        raise vp.ConfigurationError(f"--llm-url: {base_url} does not list its models; name one with --llm-model")
    there = ", ".join(names[:SHOWN]) + (" and more" if len(names) > SHOWN else "")
    if wanted is not None:
        if any(is_model(wanted, name) for name in names):
            return wanted
        raise vp.ConfigurationError(f"--llm-model: {base_url} has no model {wanted!r}; it has {there or 'none'}")
    if len(names) == 1:
        return names[0]
    if not names:
        raise vp.ConfigurationError(f"--llm-url: {base_url} has no model; load one, e.g. with `ollama pull llama3.2`")
    raise vp.ConfigurationError(f"--llm-url: {base_url} has several models; choose one with --llm-model: {there}")
