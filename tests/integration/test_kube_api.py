"""The light client against a real API server: every verb, server-side apply, discovery, watches, refusals, restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from control_plane import ControlPlane, control_plane

from localk8s.kube.manifests import deployment, node_port_service
from localk8s.kube.paths import api_path
from localk8s.kube.readiness import check_api, wait_api
from localk8s.kube.rest import JSON_PATCH, STRATEGIC, RestClient
from localk8s.model.errors import KubernetesError, WaitTimeoutError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="module")
def client(plane: ControlPlane) -> RestClient:
    return plane.client()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


MAPS = api_path("v1", "configmaps", namespace="default")


def test_an_object_from_beginning_to_end(client: RestClient) -> None:
    one = f"{MAPS}/life"
    assert client.post(MAPS, config_map("life", a="1"))["data"] == {"a": "1"}
    assert client.patch(one, {"data": {"b": "2"}})["data"] == {"a": "1", "b": "2"}
    assert client.patch(one, {"data": {"a": None}}, content_type=STRATEGIC)["data"] == {"b": "2"}
    assert client.patch(one, [{"op": "remove", "path": "/data/b"}], content_type=JSON_PATCH).get("data", {}) == {}
    assert client.put(one, config_map("life", c="3"))["data"] == {"c": "3"}
    client.delete(one)
    client.delete(one)
    with pytest.raises(KubernetesError) as caught:
        client.delete(one, missing_ok=False)
    assert caught.value.status == 404 and 'configmaps "life" not found' in caught.value.message


def test_refusals_are_in_the_servers_words(client: RestClient) -> None:
    with pytest.raises(KubernetesError) as caught:
        client.post(MAPS, config_map("Not A Name"))
    assert caught.value.status == 422 and caught.value.details == "Invalid"
    client.apply(config_map("twice"))
    with pytest.raises(KubernetesError) as caught:
        client.post(MAPS, config_map("twice"))
    assert caught.value.status == 409 and caught.value.details == "AlreadyExists"


def test_apply_takes_over_what_others_set(client: RestClient) -> None:
    client.post(f"{MAPS}?fieldManager=other", config_map("shared", a="theirs"))
    assert client.apply(config_map("shared", a="ours", b="ours"))["data"] == {"a": "ours", "b": "ours"}


def test_apply_removes_what_is_no_longer_wanted(client: RestClient) -> None:
    client.apply(config_map("own", a="1", b="2"))
    assert client.apply(config_map("own", a="1"))["data"] == {"a": "1"}


def test_apply_of_a_kind_that_only_the_server_knows(client: RestClient) -> None:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    client.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "policies.localk8s.test"},
            "spec": {
                "group": "localk8s.test",
                "scope": "Cluster",
                "names": {"plural": "policies", "kind": "Policy"},
                "versions": [version],
            },
        }
    )
    thing = {"apiVersion": "localk8s.test/v1", "kind": "Policy", "metadata": {"name": "p"}, "spec": {"x": 1}}
    deadline = time.monotonic() + 10
    while True:
        try:
            assert client.apply(thing)["spec"] == {"x": 1}
            break
        except KubernetesError as exc:  # the server takes a moment to serve it
            assert exc.status == 404 and time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize(
    "manifest",
    [
        deployment("d", "i:1", namespace="default", labels={"app": "d"}, replicas=3, port=8080, ready_path="/"),
        node_port_service("d", namespace="default", labels={"app": "d"}, port=8080),
    ],
    ids=["deployment", "service"],
)
def test_our_manifests_are_taken_and_applied_again(client: RestClient, manifest: dict[str, Any]) -> None:
    first = client.apply(manifest)
    assert client.apply(manifest)["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_watch_sees_what_happens_and_ends_in_time(client: RestClient) -> None:
    version = client.get(MAPS)["metadata"]["resourceVersion"]

    def act() -> None:
        client.apply(config_map("seen"))
        client.delete(f"{MAPS}/seen")

    threading.Timer(0.2, act).start()
    begin = time.monotonic()
    events = [
        (event["type"], event["object"]["metadata"].get("name"))
        for event in client.watch(MAPS, timeout=2, resource_version=version)
    ]
    assert [event for event in events if event[0] != "BOOKMARK"] == [("ADDED", "seen"), ("DELETED", "seen")]
    assert time.monotonic() - begin < 6


def test_a_watch_from_before_memory_is_gone(client: RestClient, plane: ControlPlane) -> None:
    plane.end("kube-apiserver")  # a server that has just started remembers nothing of before
    plane.start_api()
    with pytest.raises(KubernetesError) as caught:
        list(client.watch(MAPS, timeout=2, resource_version="1"))
    assert caught.value.status == 410


def test_a_killed_server_ends_a_watch_and_its_return_is_found(client: RestClient, plane: ControlPlane) -> None:
    assert check_api(client)
    threading.Timer(0.3, plane.end, ("kube-apiserver",)).start()
    with pytest.raises(KubernetesError) as caught:
        list(client.watch(MAPS, timeout=20))
    assert caught.value.status is None
    assert not check_api(client)
    with pytest.raises(WaitTimeoutError, match="refused the connection"):
        wait_api(client, timeout=0.2)
    plane.start_api(wait=False)
    wait_api(client, timeout=60)
    plane.wait_ready()
    assert client.get(api_path("v1", "namespaces", name="default"))["kind"] == "Namespace"
