"""Several workers for one agent: engines that run them, and a gateway that hands calls out to them."""

from voicepipe.fleet.application import Application, Listening
from voicepipe.fleet.engine import Engine
from voicepipe.fleet.handle import Handle, Load, Worker
from voicepipe.fleet.local_engine import LocalEngine
from voicepipe.fleet.ray_engine import RayEngine

__all__ = ["Application", "Engine", "Handle", "Listening", "Load", "LocalEngine", "RayEngine", "Worker"]
