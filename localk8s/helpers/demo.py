"""The demo: an echo server in the cluster, asked over HTTP from this host. Works on every driver.

Takes a client and an address, returns a result, prints nothing. Must not know drivers.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localk8s.kube.manifests import deployment, node_port_service
from localk8s.kube.paths import api_path
from localk8s.kube.readiness import wait_deployment
from localk8s.kube.rest import RestClient
from localk8s.model.errors import UsageError
from localk8s.model.progress import Reporter
from localk8s.system.wait import Pending, wait_until

NAME, NAMESPACE, PORT = "demo", "default", 8080
ECHO_IMAGE = "localk8s.dev/echo:1"
"""In every node of a cluster from the start, so that the demo needs no network."""
MOST_REPLICAS = 100
_ROLLOUT, _ANSWER = 180.0, 30.0


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """What the echo server said about the request."""

    pod: str
    node: str
    client: str
    """The address that the request came from, as the pod sees it."""
    method: str
    path: str
    protocol: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """An answered request."""

    url: str
    """``http://NODE:PORT``."""
    milliseconds: float
    """From the connection to the last byte of the answer."""
    status: int
    """The HTTP status."""
    body: str
    answer: DemoAnswer | None
    """None when another image than the echo server answered, in words of its own."""
    by_hand: tuple[str, ...]
    """The kubectl commands that do the same."""


def commands_by_hand(image: str, replicas: int) -> tuple[str, str]:
    """The two kubectl commands that deploy what the demo deploys."""
    return (
        f"kubectl create deployment {NAME} --image={image} --replicas={replicas}",
        f"kubectl expose deployment {NAME} --type=NodePort --port={PORT}",
    )


def manifests(image: str, replicas: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Deployment and the Service."""
    labels = {"app": NAME}
    return (
        deployment(NAME, image, namespace=NAMESPACE, labels=labels, replicas=replicas, port=PORT),
        node_port_service(NAME, namespace=NAMESPACE, labels=labels, port=PORT),
    )


def run_demo(client: RestClient, address: str, *, replicas: int, image: str | None, report: Reporter) -> DemoResult:
    """Deploy, wait until every pod is available, and ask.

    Args:
        client: of the cluster's API.
        address: a node's address, as this host reaches it.
        replicas: pods.
        image: another image than the echo server, serving HTTP on port 8080.
        report: told about the steps.

    Raises:
        UsageError: no such number of replicas.
        WaitTimeoutError: the pods did not come up, or the port did not answer.
        KubernetesError: the API refused.
    """
    if not 1 <= replicas <= MOST_REPLICAS:
        raise UsageError(f"{replicas} replicas cannot be had: from 1 to {MOST_REPLICAS}.", hint="localk8s demo --replicas 2")
    image = ECHO_IMAGE if image is None else image
    if not image or any(each.isspace() or not each.isprintable() for each in image):
        raise UsageError(f"{image!r} is no image.", hint=f"localk8s demo --image {ECHO_IMAGE}")
    with report.step("deploy", "deploying the echo server") as step:
        workload, service = manifests(image, replicas)
        client.apply(workload)
        port = int(client.apply(service)["spec"]["ports"][0]["nodePort"])
        step.finish_as("deployed the echo server")
    pods = "1 pod" if replicas == 1 else f"{replicas} pods"
    with report.step("rollout", f"waiting for {pods}") as step:
        wait_deployment(client, NAMESPACE, NAME, timeout=_ROLLOUT)
        step.finish_as(f"{pods} available")
    with report.step("ask", f"asking {address}:{port}") as step:
        what, hint = f"an answer from {address}:{port}", "localk8s kubectl describe service demo"
        milliseconds, status, body = wait_until(lambda: _ask(address, port), what=what, timeout=_ANSWER, hint=hint)
        step.finish_as("")  # the result says it
    url, by_hand = f"http://{address}:{port}", commands_by_hand(image, replicas)
    return DemoResult(url, milliseconds, status, body, parse_answer(body), by_hand)


def delete_demo(client: RestClient, report: Reporter) -> None:
    """Remove the Deployment and the Service, and wait until their pods are gone."""
    with report.step("delete-demo", "deleting the demo") as step:
        client.delete(api_path("v1", "services", namespace=NAMESPACE, name=NAME))
        client.delete(api_path("apps/v1", "deployments", namespace=NAMESPACE, name=NAME))
        pods = api_path("v1", "pods", namespace=NAMESPACE, labelSelector=f"app={NAME}")

        def gone() -> bool:
            if left := len(client.get(pods)["items"]):
                raise Pending(f"{left} left")
            return True

        wait_until(gone, what="the demo's pods to end", timeout=60)
        step.finish_as("deleted the demo")


def parse_answer(body: str) -> DemoAnswer | None:
    """What the echo server said; None when it was not the echo server."""
    try:
        said = json.loads(body)
        headers = {str(name): str(value) for name, value in said["headers"].items()}
        words = {key: str(said[key]) for key in ("pod", "node", "client", "method", "path", "protocol")}
        return DemoAnswer(headers=headers, **words)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _ask(address: str, port: int) -> tuple[float, int, str]:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    began = time.perf_counter()
    try:
        connection.request("GET", "/", headers={"User-Agent": "localk8s", "Accept": "*/*"})
        response = connection.getresponse()
        body = response.read(1 << 20).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        raise Pending(str(exc) or type(exc).__name__) from exc
    finally:
        connection.close()
    return (time.perf_counter() - began) * 1000, response.status, body
