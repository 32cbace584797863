"""The demo's pure parts: what is deployed, and how an answer is read. The real thing is in tests/e2e."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.artifacts.catalog import image_reference
from localk8s.artifacts.kinds import ImageRole
from localk8s.helpers.demo import ECHO_IMAGE, _take_back, commands_by_hand, find_trouble, manifests, parse_answer
from localk8s.kube.rest import RestClient
from localk8s.model.versions import KubernetesVersion

ANSWER = {
    "pod": "demo-1",
    "namespace": "default",
    "node": "default-2",
    "client": "10.83.0.1",
    "method": "GET",
    "path": "/",
    "protocol": "HTTP/1.1",
    "headers": {"Host": "10.83.0.10:31380"},
    "body": "",
}


def test_the_image_is_the_one_that_nodes_have() -> None:
    assert image_reference(ImageRole.ECHO, KubernetesVersion(1, 36, 3)) == ECHO_IMAGE


def test_the_service_finds_the_pods_and_pods_know_their_node() -> None:
    deployment, service = manifests("i:1", 3)
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"] == template["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    assert deployment["spec"]["replicas"] == 3
    assert service["spec"]["ports"][0]["targetPort"] == template["spec"]["containers"][0]["ports"][0]["containerPort"]
    names = {variable["name"] for variable in template["spec"]["containers"][0]["env"]}
    assert names == {"POD_NAME", "POD_NAMESPACE", "NODE_NAME"}


def test_by_hand() -> None:
    assert commands_by_hand("i:1", 2) == (
        "kubectl create deployment demo --image=i:1 --replicas=2",
        "kubectl expose deployment demo --type=NodePort --port=8080",
    )


def test_the_echo_servers_answer() -> None:
    answer = parse_answer(json.dumps(ANSWER))
    assert answer is not None
    assert (answer.pod, answer.node, answer.client) == ("demo-1", "default-2", "10.83.0.1")
    assert answer.headers == {"Host": "10.83.0.10:31380"}


@pytest.mark.parametrize("key", ["pod", "node", "client", "method", "path", "protocol", "headers"])
def test_an_answer_that_lacks_something_is_somebody_elses(key: str) -> None:
    assert parse_answer(json.dumps({name: value for name, value in ANSWER.items() if name != key})) is None


@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each)).map(json.dumps)))
def test_any_other_answer_is_somebody_elses(body: str) -> None:
    assert parse_answer(body) is None


def _pod(image: str, *, waiting: dict[str, str] | None = None, **more: object) -> dict[str, Any]:
    statuses = [{"state": {"waiting": waiting}}] if waiting else []
    return {
        "metadata": {"name": "demo-1", **({"deletionTimestamp": "now"} if more.get("ending") else {})},
        "spec": {"containers": [{"image": image}]},
        "status": {"containerStatuses": statuses, "conditions": more.get("conditions", [])},
    }


def test_why_pods_do_not_come_up() -> None:
    unscheduled = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes. "}]
    pull = {"reason": "ErrImagePull", "message": "it was\n not found."}
    assert find_trouble([], "a:1") is None
    assert find_trouble([_pod("a:1", waiting={"reason": "ContainerCreating"})], "a:1") is None
    assert find_trouble([_pod("b:1", waiting=pull), _pod("a:1", waiting=pull, ending=True)], "a:1") is None
    slow = find_trouble([_pod("a:1", conditions=unscheduled)], "a:1")
    assert slow is not None and not slow.final and str(slow) == "Unschedulable: 0/1 nodes"
    found = find_trouble([_pod("a:1", conditions=unscheduled), _pod("a:1", waiting=pull)], "a:1")
    assert found is not None and found.final and str(found) == "ErrImagePull: it was not found"
    for reason in ("ImagePullBackOff", "InvalidImageName", "CrashLoopBackOff", "RunContainerError"):
        found = find_trouble([_pod("a:1", waiting={"reason": reason})], "a:1")
        assert found is not None and found.final and str(found) == reason


def test_the_reason_is_told_without_what_is_wrapped_around_it() -> None:
    words = (
        'rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/library/a:1": failed to resolve reference '
        '"docker.io/library/a:1": failed to do request: Head "https://registry.test/v2/": dial tcp: no such host'
    )
    found = find_trouble([_pod("a:1", waiting={"reason": "ErrImagePull", "message": words})], "a:1")
    assert str(found) == 'ErrImagePull: failed to do request: Head "https://registry.test/v2/": dial tcp: no such host'
    found = find_trouble([_pod("a:1", waiting={"reason": "ErrImagePull", "message": "m" * 999})], "a:1")
    assert len(str(found)) < 300


class Api:
    """Some pods of the demo, of which those that are deleted stay until they are removed by force, as while a kubelet pulls."""

    def __init__(self, *images: str) -> None:
        self.pods = {f"demo-{number}": image for number, image in enumerate(images)}
        self.deleted: list[str] = []
        self.applied: list[dict[str, Any]] = []

    def get(self, path: str) -> dict[str, Any]:
        items = [{**_pod(image, ending=bool(self.deleted or self.applied)), "x": name} for name, image in self.pods.items()]
        for item in items:
            item["metadata"]["name"] = item.pop("x")
        return {"items": items}

    def delete(self, path: str) -> None:
        self.deleted.append(path.rpartition("/")[2] if "deployments" not in path else "deployment")

    def apply(self, manifest: dict[str, Any]) -> None:
        self.applied.append(manifest)

    def request(self, method: str, path: str, body: dict[str, Any]) -> None:
        assert (method, body["gracePeriodSeconds"]) == ("DELETE", 0)
        del self.pods[path.rpartition("/")[2]]


def test_a_failed_demo_leaves_nothing_and_is_not_waited_for() -> None:
    api = Api("bad:1", "bad:1")
    _take_back(cast(RestClient, api), None, "bad:1")
    assert (api.pods, api.deleted) == ({}, ["demo", "deployment"])


def test_the_demo_before_stays() -> None:
    api = Api("good:1", "bad:1")
    _take_back(cast(RestClient, api), ("good:1", 3), "bad:1")
    assert list(api.pods.values()) == ["good:1"]
    assert [manifest["spec"]["replicas"] for manifest in api.applied] == [3]
    assert api.deleted == []


@pytest.mark.parametrize(("reason", "final"), [("CreateContainerConfigError", False), ("RunContainerError", True)])
def test_what_a_kubelet_says_while_it_comes_up_does_not_end_the_wait(reason: str, final: bool) -> None:
    found = find_trouble([_pod("a:1", waiting={"reason": reason, "message": "services have not yet been read"})], "a:1")
    assert found is not None and found.final is final
