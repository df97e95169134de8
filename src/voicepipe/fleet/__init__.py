"""Several workers for one agent: engines that run them, and a gateway that hands calls out to them."""

from voicepipe.fleet.application import Application, Listening
from voicepipe.fleet.engine import Engine, Handle, Load, Worker

__all__ = ["Application", "Engine", "Handle", "Listening", "Load", "Worker"]
