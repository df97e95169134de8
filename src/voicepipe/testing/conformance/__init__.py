"""Checks that a part of yours does what the library relies on; see docs/adding-a-vendor.md."""

from voicepipe.testing.conformance.behaviour import KEY, Behaviour, Server
from voicepipe.testing.conformance.hearing import Speech
from voicepipe.testing.conformance.model import check_model
from voicepipe.testing.conformance.output import check_output
from voicepipe.testing.conformance.recogniser import check_recogniser
from voicepipe.testing.conformance.report import Check, Nonconformance, Report
from voicepipe.testing.conformance.source import check_source
from voicepipe.testing.conformance.store import check_store
from voicepipe.testing.conformance.voice import check_voice

__all__ = [
    "KEY",
    "Behaviour",
    "Check",
    "Nonconformance",
    "Report",
    "Server",
    "Speech",
    "check_model",
    "check_output",
    "check_recogniser",
    "check_source",
    "check_store",
    "check_voice",
]
