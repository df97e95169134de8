"""What is known about Ray without Ray: settings that cannot be, and what its errors come down to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from voicepipe.errors import ConfigurationError, MissingExtra
from voicepipe.fleet import Application, RayEngine
from voicepipe.fleet.ray_engine import _reason, _shipped

DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: RayWorker
\tpid: 14439
The actor is dead because its worker process has died. Worker exit detail: End of file. Some common causes include: ...
"""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cpus": 0.0}, "RayEngine: cpus must be a number of processors above 0, not 0.0"),
        ({"cpus": float("nan")}, "RayEngine: cpus must be a number of processors above 0, not nan"),
        (
            {"address": "ray://10.0.0.1:10001"},
            "must be that of its head, e.g. '10.0.0.1:6379', not 'ray://10.0.0.1:10001'",
        ),
        ({"address": "10.0.0.1"}, "must be that of its head, e.g. '10.0.0.1:6379', not '10.0.0.1'"),
        ({"address": "10.0.0.1:66000"}, "not '10.0.0.1:66000'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    """An engine with settings that no cluster could take is not made."""
    with pytest.raises(ConfigurationError) as refused:
        RayEngine(**settings)
    assert said in str(refused.value)


@pytest.mark.anyio
async def test_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray the sentence names the extra, and no worker is started."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'voicepipe\[ray\]'"):
        async with RayEngine().open(Application("app.py")):
            pass


def test_what_workers_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file its folder is copied, of a module the present one; a file that is missing is reported here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "app.py").touch()
    assert _shipped("shop/app.py") == (tmp_path / "shop", "app.py")
    assert _shipped("shop/app.py:serve") == (tmp_path / "shop", "app.py:serve")
    assert _shipped("shop.app:serve") == (tmp_path, "shop.app:serve")
    with pytest.raises(ConfigurationError, match=r"^shop/ap\.py does not exist; name a Python file"):
        _shipped("shop/ap.py:serve")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DIED, "its worker process has died. Worker exit detail: End of file."),
        (
            "\x1b[36mray::f()\x1b[39m (pid=1)\n  File 'a.py', line 1\nImportError: not this one",
            "ImportError: not this one",
        ),
        ("", "ValueError"),
    ],
)
def test_what_ray_says_is_one_line(text: str, reason: str) -> None:
    """Of Ray's reports, which are long, the reason is left."""
    assert _reason(ValueError(text)) == reason
