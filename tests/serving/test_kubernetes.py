"""The manifests in deploy/kubernetes: each object has its schema, and what a schema does not see fits together."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.plain_transport import Plain, agent
from voicepipe.cli import _parser
from voicepipe.cli.serve import STORE_VARIABLE
from voicepipe.serving import Limits, Serve
from voicepipe.serving.desk import LAST_REPLY_S

MISSING = [name for name in ("kubernetes_validate", "yaml") if find_spec(name) is None]
pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
    ),
]

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.37")
"""The oldest and the newest version of Kubernetes in which the manifests are valid."""

CLOSING_S = 10
"""What is left for closing connections and parts once the last reply has ended."""

Manifest = dict[str, Any]


def manifests(file: str = "*.yaml") -> Iterator[Manifest]:
    import yaml

    for path in sorted(FOLDER.glob(file)):
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def the(kind: str, name: str = "agent") -> Manifest:
    [found] = [each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def container(name: str = "agent") -> Manifest:
    [only] = the("Deployment", name)["spec"]["template"]["spec"]["containers"]
    return only


def has(labels: Manifest, selector: Manifest) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def port_of(pod: Manifest, port: int | str) -> int:
    """Return the number of a port, which a probe or a service may call by its name."""
    [number] = [each["containerPort"] for each in pod["ports"] if port in (each["name"], each["containerPort"])]
    return number


@pytest.mark.parametrize("version", VERSIONS)
def test_each_object_has_its_schema(version: str) -> None:
    """Kubernetes takes each object, and knows each of its fields."""
    import kubernetes_validate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own
        for each in manifests():
            kubernetes_validate.validate(each, version, strict=True)
        wrong = the("Deployment")
        wrong["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 960
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, version, strict=True)


def test_no_pod_is_killed_before_its_calls_have_ended() -> None:
    """The grace period covers the wait of preStop, which counts too, draining, the last replies and the closing."""
    pod, args = the("Deployment")["spec"]["template"]["spec"], container()["args"]
    options = _parser().parse_args(args[1:])
    program, seconds = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert (args[0], options.command, program) == ("voicepipe", "serve", "sleep")
    least = int(seconds) + options.drain + LAST_REPLY_S + CLOSING_S
    assert pod["terminationGracePeriodSeconds"] >= least
    readiness = container()["readinessProbe"]
    assert int(seconds) > readiness["periodSeconds"] * readiness["failureThreshold"]  # balancers have heard of it


@pytest.mark.anyio
async def test_the_probes_ask_what_the_server_answers() -> None:
    """Each probe finds its path at the server; while it drains, a pod takes no further call, and nobody restarts it."""
    pod = container()
    options = _parser().parse_args(pod["args"][1:])
    probes = {name: pod[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {port_of(pod, probe["port"]) for probe in probes.values()} == {options.port}
    serve = Serve(agent(), [Plain()])
    transport = httpx.ASGITransport(serve.app)
    async with serve.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://pod") as client:

        async def statuses() -> dict[str, int]:
            return {name: (await client.get(probe["path"])).status_code for name, probe in probes.items()}

        assert await statuses() == dict.fromkeys(probes, 200)
        await serve.drain(0.0)
        assert await statuses() == {"startupProbe": 503, "readinessProbe": 503, "livenessProbe": 200}


def test_nothing_stalls_the_audio() -> None:
    """No container of the agent has a limit of CPU, which would throttle it; memory has one, and both are requested."""
    assert container()["resources"]["limits"].keys() == {"memory"}
    assert container()["resources"]["requests"].keys() == {"cpu", "memory"}


def test_what_one_object_names_is_there() -> None:
    """Services, budgets and policies select pods that exist, by ports that are open; the autoscaler finds the agent."""
    pods = {each["metadata"]["name"]: each["spec"]["template"] for each in manifests() if each["kind"] == "Deployment"}
    for each in manifests():
        spec, name = each["spec"], each["metadata"]["name"]
        match each["kind"]:
            case "Deployment":
                assert has(spec["template"]["metadata"]["labels"], spec["selector"]["matchLabels"])
            case "Service":
                assert has(pods[name]["metadata"]["labels"], spec["selector"])
                assert [port_of(container(name), port["targetPort"]) for port in spec["ports"]]
            case "PodDisruptionBudget":
                assert has(pods[name]["metadata"]["labels"], spec["selector"]["matchLabels"])
                assert spec["maxUnavailable"] >= 1  # or no machine could ever be emptied
            case "NetworkPolicy":
                assert has(pods[name]["metadata"]["labels"], spec["podSelector"]["matchLabels"])
                [rule] = spec["ingress"]
                assert has(pods["agent"]["metadata"]["labels"], rule["from"][0]["podSelector"]["matchLabels"])
                assert [port_of(container(name), port["port"]) for port in rule["ports"]]
            case "HorizontalPodAutoscaler":
                target = spec["scaleTargetRef"]
                assert the(target["kind"], target["name"])["apiVersion"] == target["apiVersion"]
                assert "replicas" not in the("Deployment", target["name"])["spec"]  # or applying it undoes the scaling
            case kind:
                raise AssertionError(f"{kind} has no rule here")


def test_the_agent_finds_the_store() -> None:
    """The secret that the file says how to make has the address of the store's service and the password of its pod."""
    text = (FOLDER / "redis.yaml").read_text(encoding="utf-8")
    secret = re.search(r"secret generic (\S+) .*password=\S+ .*url=redis://:\S+@(\S+):(\d+)/", text)
    assert secret
    [address] = [each["valueFrom"]["secretKeyRef"] for each in container()["env"]]
    [password] = [each["valueFrom"]["secretKeyRef"] for each in container("agent-store")["env"]]
    assert [each["name"] for each in container()["env"]] == [STORE_VARIABLE]
    assert (address["name"], address["key"]) == (secret[1], "url")
    assert (password["name"], password["key"]) == (secret[1], "password")
    assert the("Service", secret[2])["spec"]["ports"][0]["port"] == int(secret[3])


def test_it_scales_by_calls_and_in_time() -> None:
    """The autoscaler follows the server's own count of calls, up before pods are full, and down slowly."""
    spec = the("HorizontalPodAutoscaler")["spec"]
    [metric] = spec["metrics"]
    serve = Serve(agent(), [Plain()])
    assert f"\n{metric['pods']['metric']['name']}{{" in serve.desk.metrics.text().decode()
    assert int(metric["pods"]["target"]["averageValue"]) <= Limits().sessions / 2
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    assert spec["minReplicas"] >= 2
