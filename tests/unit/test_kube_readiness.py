"""What counts as ready, from objects as real API servers show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from localk8s.kube import readiness
from localk8s.kube.dns_query import Answer, Record, RecordType, ResponseCode
from localk8s.kube.readiness import (
    check_api,
    judge_deployment,
    judge_dns,
    judge_endpoints,
    judge_node,
    judge_nodes,
    node_state,
    wait_nodes,
)
from localk8s.model.errors import KubernetesError, WaitTimeoutError
from localk8s.model.status import NodeState


def node(
    name: str = "n", status: str = "True", message: str = "kubelet is fine", heard: str = "2026-11-23T20:00:05Z"
) -> dict[str, Any]:
    conditions = [
        {"type": "MemoryPressure", "status": "False"},
        {"type": "Ready", "status": status, "message": message, "lastHeartbeatTime": heard},
    ]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def test_node_states() -> None:
    assert node_state(node()) == (NodeState.READY, "")
    assert node_state(node(status="False", message="no CNI")) == (NodeState.NOT_READY, "node n is not ready: no CNI")
    assert node_state(node(status="Unknown", message=""))[0] is NodeState.NOT_READY
    assert node_state({"metadata": {"name": "n"}})[1] == "node n has not reported yet"


def test_the_word_from_before_a_restart_does_not_count() -> None:
    since = datetime(2026, 11, 23, 20, 0, 5, 700000, tzinfo=UTC)
    assert judge_node(node(heard="2026-11-23T20:00:05Z"), heard_since=since)  # whole seconds
    late = judge_node(node(heard="2026-11-23T20:00:04Z"), heard_since=since)
    assert not late and "since it was started" in late.reason
    assert not judge_node(node(heard=""), heard_since=since)


def test_a_word_from_the_future_is_from_before_the_clock_was_set_back() -> None:
    since = datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC)
    assert judge_node(node(heard="2026-11-23T20:30:00Z"), heard_since=since)
    assert not judge_node(node(heard="2026-11-24T20:00:00Z"), heard_since=since)


def test_all_nodes_and_only_those_that_matter() -> None:
    nodes = [node("a"), node("b", "False", "booting"), node("c")]
    assert judge_nodes(nodes, ["a", "c"])
    assert judge_nodes(nodes, ["a", "b"]).reason == "node b is not ready: booting"
    assert judge_nodes(nodes, ["a", "d", "e"]).reason == "nodes d, e are not there yet"


def deployment(wanted: int = 2, *, generation: int = 2, observed: int = 2, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "d", "generation": generation},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": observed, **status},
    }


def test_deployments() -> None:
    full = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    assert judge_deployment(deployment(**full))
    assert judge_deployment(deployment(0))
    assert not judge_deployment(deployment(observed=1, **full))
    assert not judge_deployment({**deployment(), "status": {}})
    assert not judge_deployment(deployment(**{**full, "replicas": 3}))  # an old one is still there
    stuck = [{"type": "Progressing", "status": "False", "message": "deadline exceeded"}]
    judged = judge_deployment(deployment(**{**full, "availableReplicas": 1}, conditions=stuck))
    assert judged.reason == "deployment d has 1 of 2 replicas available (deadline exceeded)"


def test_endpoints() -> None:
    subsets = [{"addresses": [{"ip": "1.1.1.1"}], "notReadyAddresses": [{"ip": "1.1.1.2"}]}, {"addresses": None}]
    found = {"metadata": {"name": "s"}, "subsets": subsets}
    assert judge_endpoints(found)
    assert judge_endpoints(found, at_least=2).reason == "service s has 1 of 2 endpoints"
    assert not judge_endpoints({"metadata": {"name": "s"}})


def test_dns_answers() -> None:
    good = Answer(ResponseCode.NOERROR, (Record("a", RecordType.A, 5, "10.96.0.1"),))
    assert judge_dns(good, "a") and judge_dns(good, "a", "10.96.0.1")
    assert judge_dns(good, "a", "10.96.0.2").reason == "a resolves to 10.96.0.1, not to 10.96.0.2"
    assert judge_dns(Answer(ResponseCode.NXDOMAIN, ()), "a").reason == "a does not resolve (NXDOMAIN)"
    assert not judge_dns(Answer(ResponseCode.NOERROR, ()), "a")
    assert "(11)" in judge_dns(Answer(11, ()), "a").reason


class FakeClient:
    """Answers calls from a list; the last answer stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.paths: list[str] = []

    def raw(self, path: str, *, timeout: float) -> Any:
        self.paths.append(path)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    get = raw


@pytest.mark.parametrize(
    ("answers", "ready", "paths"),
    [
        (["ok"], True, ["/readyz"]),
        ([KubernetesError("no", status=404), "ok"], True, ["/readyz", "/healthz"]),
        ([KubernetesError("not yet", status=500), "ok"], False, ["/readyz"]),
        ([KubernetesError("nobody there")], False, ["/readyz"]),
        ([KubernetesError("no", status=404), KubernetesError("no", status=404)], False, ["/readyz", "/healthz"]),
        (["failed"], False, ["/readyz"]),
    ],
)
def test_the_api_server(answers: list[Any], ready: bool, paths: list[str]) -> None:
    client = FakeClient(*answers)
    assert bool(check_api(client)) is ready  # type: ignore[arg-type]
    assert client.paths == paths


def test_a_wait_goes_on_through_errors_and_ends_with_the_last_thing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_INTERVAL", 0.0)
    client = FakeClient(KubernetesError("refused."), {"items": []}, {"items": [node()]})
    wait_nodes(client, ["n"], timeout=5)  # type: ignore[arg-type]
    with pytest.raises(WaitTimeoutError, match="Waited 0 s for 2 nodes to be ready: node m is not there yet"):
        wait_nodes(FakeClient({"items": [node()]}), ["n", "m"], timeout=0.01)  # type: ignore[arg-type]
