"""An MCP server of the protocol before 2026, written without the SDK, with manners that no SDK has.

`python old_mcp_server.py MANNER` speaks on stdin and stdout. It needs nothing but Python, so it starts at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

TOOLS = ("echo", "noise", "huge", "die", "more")


def answer(request: dict[str, Any], listed: list[str]) -> Any:
    match request["method"]:
        case "initialize":
            version = request["params"]["protocolVersion"]
            capabilities = {"tools": {"listChanged": True}}
            return {
                "protocolVersion": version,
                "capabilities": capabilities,
                "serverInfo": {"name": "old", "version": "1"},
            }
        case "tools/list":
            schema = {"type": "object", "properties": {"text": {"type": "string"}}}
            hints = {"readOnlyHint": True}
            return {"tools": [{"name": name, "inputSchema": schema, "annotations": hints} for name in listed]}
        case "tools/call":
            return {"content": [{"type": "text", "text": call(request["params"], listed)}]}
        case _:
            return None


def call(params: dict[str, Any], listed: list[str]) -> str:
    match params["name"]:
        case "noise":
            sys.stdout.write("a banner that is no message\n")
            for number in range(1000):
                sys.stderr.write(f"line {number} of {os.environ.get('TOKEN')}\n")
            sys.stderr.flush()
        case "huge":
            return "x" * 5_000_000
        case "die":
            sys.stderr.write("out of tables\n")
            sys.stderr.flush()
            os._exit(7)
        case "more":
            listed.append("fresh")
            send({"method": "notifications/tools/list_changed"})
    return f"{os.getpid()} {params.get('arguments', {}).get('text', '')}"


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def main(manner: str) -> None:
    listed = list(TOOLS)
    if manner == "exits":
        sys.exit(f"no licence for {os.environ['TOKEN']}")
    if manner == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        sys.stderr.write(f"child {child.pid}\n")
        sys.stderr.flush()
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        result = answer(request, listed)
        unknown = {"error": {"code": -32601, "message": "Method not found"}}
        send({"id": request["id"], **({"result": result} if result is not None else unknown)})
    if manner == "deaf":
        threading.Event().wait(600)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
