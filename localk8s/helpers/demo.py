"""The demo: an echo server in the cluster, asked over HTTP from this host. Works on every driver.

Takes a client and an address, returns a result, prints nothing. Must not know drivers.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localk8s.kube.manifests import deployment, node_port_service
from localk8s.kube.paths import api_path
from localk8s.kube.readiness import Readiness, judge_deployment, wait_until_judged
from localk8s.kube.rest import RestClient
from localk8s.model.errors import (
    ArtifactError,
    KubernetesError,
    Localk8sError,
    UsageError,
    WaitTimeoutError,
    WrongStateError,
)
from localk8s.model.hints import command, instead
from localk8s.model.names import DEFAULT_CLUSTER
from localk8s.model.progress import Reporter
from localk8s.system.wait import Pending, wait_until

NAME, NAMESPACE, PORT = "demo", "default", 8080
ECHO_IMAGE = "localk8s.dev/echo:1"
"""In every node of a cluster from the start, so that the demo needs no network."""
MOST_REPLICAS = 100
_ROLLOUT, _ANSWER, _ONE_LOOK, _FORGET = 180.0, 30.0, 2.0, 20.0
_DEPLOYMENT = api_path("apps/v1", "deployments", namespace=NAMESPACE, name=NAME)
_PODS = api_path("v1", "pods", namespace=NAMESPACE, labelSelector=f"app={NAME}")
_NOT_PULLED = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_WRAPPED = re.compile(
    r'rpc error: code = \w+ desc = |failed to pull and unpack image "[^"]*": |failed to resolve reference "[^"]*": '
)
"""What containerd and its interface put in front of the reason why an image cannot be pulled."""
_LONGEST_WORDS = 250
_NOT_STARTED = frozenset({"CrashLoopBackOff", "RunContainerError", "CreateContainerError"})
_TRANSIENT = "CreateContainerConfigError"
"""A kubelet that has just started says it until it has read the cluster's services."""


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


def run_demo(
    client: RestClient, address: str, *, replicas: int, image: str | None, report: Reporter, cluster: str = DEFAULT_CLUSTER
) -> DemoResult:
    """Deploy, wait until every pod is available, and ask. What does not come up is taken back.

    Args:
        client: of the cluster's API.
        address: a node's address, as this host reaches it.
        replicas: pods.
        image: another image than the echo server, serving HTTP on port 8080.
        report: told about the steps.
        cluster: the cluster's name, for hints.

    Raises:
        UsageError: no such number of replicas.
        ArtifactError: the image cannot be pulled.
        WrongStateError: the pods end, or cannot be started.
        WaitTimeoutError: the pods did not come up, or the port did not answer.
        KubernetesError: the API refused.
    """
    if not 1 <= replicas <= MOST_REPLICAS:
        raise UsageError(f"{replicas} replicas cannot be had: from 1 to {MOST_REPLICAS}.", hint=instead("--replicas", "2"))
    image = ECHO_IMAGE if image is None else image
    if not image or any(each.isspace() or not each.isprintable() for each in image):
        raise UsageError(f"{image!r} is no image.", hint=instead("--image", ECHO_IMAGE))
    with report.step("deploy", "deploying the echo server") as step:
        before = _deployed(client)
        workload, service = manifests(image, replicas)
        client.apply(workload)
        port = int(client.apply(service)["spec"]["ports"][0]["nodePort"])
        step.finish_as("deployed the echo server")
    pods = "1 pod" if replicas == 1 else f"{replicas} pods"
    with report.step("rollout", f"waiting for {pods}") as step:
        try:
            _wait_rollout(client, image, cluster)
        except (ArtifactError, WrongStateError, WaitTimeoutError):
            _take_back(client, before, image)
            raise
        step.finish_as(f"{pods} available")
    with report.step("ask", f"asking {address}:{port}") as step:
        what, hint = f"an answer from {address}:{port}", command("kubectl", "describe", "service", NAME, cluster=cluster)
        milliseconds, status, body = wait_until(lambda: _ask(address, port), what=what, timeout=_ANSWER, hint=hint)
        step.finish_as("")  # the result says it
    url, by_hand = f"http://{address}:{port}", commands_by_hand(image, replicas)
    return DemoResult(url, milliseconds, status, body, parse_answer(body), by_hand)


def _deployed(client: RestClient) -> tuple[str, int] | None:
    """The image and the replicas of the demo that is there; None when there is none."""
    try:
        found = client.get(_DEPLOYMENT)["spec"]
    except KubernetesError as exc:
        if exc.status != 404:
            raise
        return None
    return str(found["template"]["spec"]["containers"][0]["image"]), int(found.get("replicas", 1))


def _take_back(client: RestClient, before: tuple[str, int] | None, image: str) -> None:
    """Put the demo that was there back, or delete what was deployed; what runs ``image`` is not waited for."""
    with contextlib.suppress(KubernetesError, WaitTimeoutError):  # the rollout's own error is the one to tell
        if before is None:
            client.delete(api_path("v1", "services", namespace=NAMESPACE, name=NAME))
            client.delete(_DEPLOYMENT)
        else:
            client.apply(manifests(*before)[0])
        if before is None or before[0] != image:
            wait_until(lambda: _forget_pods(client, image), what="the failed pods to end", timeout=_FORGET)


def _forget_pods(client: RestClient, image: str) -> bool:
    """Remove the pods that run ``image`` and are being deleted: a kubelet that pulls would keep them for a minute."""
    left = [pod for pod in client.get(_PODS)["items"] if _image(pod) == image]
    for pod in left:
        if pod["metadata"].get("deletionTimestamp"):
            path = api_path("v1", "pods", namespace=NAMESPACE, name=pod["metadata"]["name"])
            with contextlib.suppress(KubernetesError):
                client.request("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
    return not left


def _image(pod: Mapping[str, Any]) -> str:
    return str(pod["spec"]["containers"][0].get("image"))


def _wait_rollout(client: RestClient, image: str, cluster: str) -> None:
    trouble: PodTrouble | None = None

    def look() -> Readiness:
        nonlocal trouble
        if judged := judge_deployment(client.get(_DEPLOYMENT, timeout=_ONE_LOOK)):
            return judged
        trouble = find_trouble(client.get(_PODS, timeout=_ONE_LOOK)["items"], image)
        if trouble is not None and trouble.final:
            raise _rollout_error(trouble, image, cluster)
        return Readiness(False, f"{judged.reason} ({trouble})") if trouble else judged

    hint = command("kubectl", "get", "pods", "-A", cluster=cluster)
    wait_until_judged(look, f"deployment {NAME}", _ROLLOUT, interval=0.2, hint=hint)


def _rollout_error(trouble: PodTrouble, image: str, cluster: str) -> Localk8sError:
    if trouble.reason in _NOT_PULLED:
        message = f"The image {image} cannot be pulled: {trouble}. The demo was rolled back."
        return ArtifactError(message, hint=command("image load", image, cluster=cluster))
    message = f"The demo's containers do not run: {trouble}. The demo was rolled back."
    return WrongStateError(message, hint=command("demo", "--image", ECHO_IMAGE, cluster=cluster))


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """Why a pod does not come up."""

    reason: str
    """The kubelet's or the scheduler's one word: ``ErrImagePull``, ``Unschedulable``."""
    message: str
    final: bool
    """Whether waiting will not help."""

    def __str__(self) -> str:
        words = _WRAPPED.sub("", " ".join(self.message.split())).rstrip(".")
        shown = words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"
        return f"{self.reason}: {shown}" if shown else self.reason


def find_trouble(pods: Sequence[Mapping[str, Any]], image: str) -> PodTrouble | None:
    """Why the pods that run ``image`` do not come up; None when nothing is known. What is final comes first."""
    found: list[PodTrouble] = []
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp") or _image(pod) != image:
            continue
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason = str(waiting.get("reason") or "")
            final = reason in _NOT_PULLED or reason in _NOT_STARTED
            if final or reason == _TRANSIENT:
                found.append(PodTrouble(reason, str(waiting.get("message") or ""), final=final))
        for condition in status.get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                reason, message = str(condition.get("reason") or "Unschedulable"), str(condition.get("message") or "")
                found.append(PodTrouble(reason, message, final=False))
    return min(found, key=lambda each: not each.final, default=None)


def delete_demo(client: RestClient, report: Reporter) -> None:
    """Remove the Deployment and the Service, and wait until their pods are gone."""
    with report.step("delete-demo", "deleting the demo") as step:
        client.delete(api_path("v1", "services", namespace=NAMESPACE, name=NAME))
        client.delete(_DEPLOYMENT)

        def gone() -> bool:
            if left := len(client.get(_PODS)["items"]):
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
