"""Pod networks of others: what of their manifests is made to fit, and what is refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_door import Door, assert_one_sentence
from test_vagrant_driver import SPEC, context

from localk8s.drivers.vagrant import build, checks, pod_network
from localk8s.drivers.vagrant.options import PodNetwork, read_options
from localk8s.drivers.vagrant.plan import choose_network
from localk8s.model.errors import UsageError
from localk8s.model.status import Severity

RANGES = choose_network((), "lxc")


def daemons(name: str, container: dict[str, Any]) -> dict[str, Any]:
    """A DaemonSet with one container."""
    return {"kind": "DaemonSet", "metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [container]}}}}


FLANNEL = yaml.safe_dump_all(
    [
        {"kind": "Namespace", "metadata": {"name": "kube-flannel"}},
        {
            "kind": "ConfigMap",
            "metadata": {"name": "kube-flannel-cfg"},
            "data": {"net-conf.json": json.dumps({"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}})},
        },
        daemons(
            "kube-flannel-ds",
            {"name": "kube-flannel", "args": ["--ip-masq", "--kube-subnet-mgr", "--iface=eth0"], "env": [{"name": "POD_NAME"}]},
        ),
    ]
)
CALICO = yaml.safe_dump_all(
    [
        daemons(
            "calico-node",
            {"name": "calico-node", "env": [{"name": "IP", "value": "autodetect"}, {"name": "FELIX", "value": "1"}]},
        )
    ]
)


def container(text: str) -> dict[str, Any]:
    """The container of the last document."""
    found: dict[str, Any] = json.loads(text)["items"][-1]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_flannel_gets_the_pod_range_and_the_card_with_the_nodes_address() -> None:
    adapted = pod_network.adapt(PodNetwork.FLANNEL, FLANNEL, RANGES)
    configuration = json.loads(json.loads(adapted)["items"][1]["data"]["net-conf.json"])
    assert configuration == {"Network": str(RANGES.pods), "Backend": {"Type": "vxlan"}}
    found = container(adapted)
    assert found["args"] == ["--ip-masq", "--kube-subnet-mgr", "--iface=$(LOCALK8S_NODE_ADDRESS)"]
    assert found["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "status.hostIP"}}
    assert pod_network.adapt(PodNetwork.FLANNEL, adapted_documents(adapted), RANGES) == adapted


def adapted_documents(adapted: str) -> str:
    """The adapted manifest as documents again."""
    return yaml.safe_dump_all(json.loads(adapted)["items"])


def test_calico_gets_the_pod_range_and_the_card_with_the_nodes_address() -> None:
    found = {entry["name"]: entry["value"] for entry in container(pod_network.adapt(PodNetwork.CALICO, CALICO, RANGES))["env"]}
    assert found == {
        "FELIX": "1",
        "CALICO_IPV4POOL_CIDR": str(RANGES.pods),
        "IP": "autodetect",
        "IP_AUTODETECTION_METHOD": "kubernetes-internal-ip",
    }


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    "text",
    ["", "{", "- 1", "kind: List", CALICO, "kind: DaemonSet\nmetadata: 1", "a: &a [*a]", BOMB, "x: !!python/object:os.a 1"],
)
def test_what_is_no_manifest_is_one_sentence_with_the_way_to_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match="The file is no manifest of flannel") as caught:
        pod_network.read_manifest(PodNetwork.FLANNEL, str(file))
    assert caught.value.hint.startswith("curl -fLO https://") and "&& --driver-option cni-manifest=" in caught.value.hint


def test_a_manifest_has_to_be_given_and_is_kept_by_its_absolute_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = build(context(tmp_path))
    wish = replace(SPEC, options={"provider": "lxc", "cni": "flannel"})
    with pytest.raises(UsageError, match=r"localk8s has no manifest of flannel.*v0\.27\.4"):
        driver.complete(wish)
    with pytest.raises(UsageError, match="cannot be read: no such file"):
        driver.complete(replace(wish, options={**wish.options, "cni-manifest": "none.yaml"}))
    (tmp_path / "f.yaml").write_text(FLANNEL)
    monkeypatch.chdir(tmp_path)
    full = driver.complete(replace(wish, options={**wish.options, "cni-manifest": "f.yaml"}))
    assert full.options["cni-manifest"] == str(tmp_path / "f.yaml")
    with pytest.raises(UsageError, match="goes with flannel or calico"):
        read_options({"provider": "lxc", "cni-manifest": "f.yaml"})


@pytest.mark.parametrize(("uplink", "refused"), [(False, True), (True, False)])
def test_without_a_network_it_is_refused_before_anything_boots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uplink: bool, refused: bool
) -> None:
    monkeypatch.setattr(checks, "find_program", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(checks, "has_uplink", lambda runner: uplink)
    wish = replace(SPEC, options={"provider": "lxc", "cni": "calico"})
    found = [finding for finding in build(context(tmp_path)).check(wish) if finding.severity is Severity.ERROR]
    assert [finding.subject for finding in found] == (["pod network"] if refused else [])
    if refused:
        assert found[0].fix == "--cni bridge"


def test_the_command_line_says_it_in_one_sentence(door: Door) -> None:
    ran = door("render", "--provider", "virtualbox", "--cni", "flannel", "--kubernetes-version", "1.20.2")
    assert_one_sentence(ran, {2})
    assert "hint: curl -fLO https://" in ran.err
    assert_one_sentence(door("render", "--provider", "virtualbox", "--cni", "weave"), {2})
