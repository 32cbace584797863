"""What is rendered for kubeadm and the components, held against the recorded flags and configuration APIs of 1.20 to 1.36."""

from __future__ import annotations

import csv
import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from localk8s.kubeadm import command_lines
from localk8s.kubeadm.component_config import kubelet_configuration, proxy_configuration
from localk8s.kubeadm.documents import init_documents, join_documents
from localk8s.kubeadm.parameters import ClusterNetwork, JoinTicket, KubeadmParameters
from localk8s.kubeadm.phases import complaint
from localk8s.model.versions import parse_kubernetes_version

DATA = Path(__file__).parent.parent / "data"
RECORDED = ("v1.20.2", "v1.24.17", "v1.28.15", "v1.34.10", "v1.36.3")


def parameters(version: str, **more: Any) -> KubeadmParameters:
    network = ClusterNetwork(IPv4Network("10.83.0.0/24"), IPv4Network("10.100.0.0/16"), IPv4Network("10.101.0.0/16"))
    return KubeadmParameters("demo", parse_kubernetes_version(version), network, "10.83.0.10:6443", **more)


def recorded_flags() -> dict[tuple[str, str, str], str]:
    with (DATA / "flags.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {(row["component"], version, row["flag"]): row[version] for row in rows for version in RECORDED}


def lines(version: str) -> dict[str, tuple[str, ...]]:
    it = parameters(version)
    return {
        "kube-apiserver": command_lines.kube_apiserver(it, "10.83.0.10"),
        "kube-controller-manager": command_lines.kube_controller_manager(it),
        "kube-scheduler": command_lines.kube_scheduler(it),
        "kubelet": command_lines.kubelet(),
        "kube-proxy": command_lines.kube_proxy("/etc/kubernetes/kube-proxy.yaml"),
    }


@pytest.mark.parametrize("version", RECORDED)
@pytest.mark.parametrize("component", ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"])
def test_every_flag_exists_in_that_version(component: str, version: str) -> None:
    flags = recorded_flags()
    program, *arguments = lines(version)[component]
    assert program == component
    for argument in arguments:
        flag = argument.removeprefix("--").partition("=")[0]
        assert argument.startswith("--")
        known = flags[component, version, flag]
        # deprecated for ten years in the scheduler, and what kubeadm itself passes up to 1.36; the other one switches off
        deprecated = (component, flag) == ("kube-scheduler", "kubeconfig") or argument == "--port=0"
        assert known in ("+", "?") or (known == "d" and deprecated), f"--{flag}: {known}"


@pytest.mark.parametrize(("version", "off"), [("v1.20.2", True), ("v1.22.17", True), ("v1.23.0", False), ("v1.36.3", False)])
def test_nothing_is_served_by_plain_http(version: str, off: bool) -> None:
    for component in ("kube-controller-manager", "kube-scheduler"):
        assert ("--port=0" in lines(version)[component]) is off


@pytest.mark.parametrize(
    ("version", "release"),
    [("v1.20.2", "v1beta2"), ("v1.21.0", "v1beta2"), ("v1.22.0", "v1beta3"), ("v1.30.9", "v1beta3"), ("v1.31.0", "v1beta4"),
     ("v1.36.3", "v1beta4")],
)  # fmt: skip
def test_configuration_api_by_version(version: str, release: str) -> None:
    for text in (
        init_documents(parameters(version), name="demo", address="10.83.0.10"),
        join_documents(parameters(version), name="demo-2", address="10.83.0.11", ticket=JoinTicket("abcdef.x", "sha256:0")),
    ):
        for document in map(json.loads, text.split("---\n")):
            if "kubeadm" in document["apiVersion"]:
                assert document["apiVersion"] == f"kubeadm.k8s.io/{release}"


def test_arguments_are_a_map_until_v1beta4_and_a_list_from_then_on() -> None:
    old, new = (init_documents(parameters(v), name="demo", address="10.83.0.10") for v in ("v1.30.0", "v1.31.0"))
    assert json.loads(old.split("---\n")[0])["nodeRegistration"]["kubeletExtraArgs"] == {"node-ip": "10.83.0.10"}
    assert json.loads(new.split("---\n")[0])["nodeRegistration"]["kubeletExtraArgs"] == [
        {"name": "node-ip", "value": "10.83.0.10"}
    ]


def test_elliptic_keys_by_gate_or_by_field() -> None:
    old, new = (
        json.loads(init_documents(parameters(v), name="demo", address="10.83.0.10").split("---\n")[1])
        for v in ("v1.20.2", "v1.36.3")
    )
    assert old["featureGates"] == {"PublicKeysECDSA": True} and "encryptionAlgorithm" not in old
    assert new["encryptionAlgorithm"] == "ECDSA-P256" and "featureGates" not in new


def test_runtime_socket_is_in_the_configuration_from_1_27_on() -> None:
    assert "containerRuntimeEndpoint" not in kubelet_configuration(parameters("v1.26.0"))
    assert kubelet_configuration(parameters("v1.27.0"))["containerRuntimeEndpoint"] == "unix:///run/containerd/containerd.sock"


@pytest.mark.parametrize(
    ("version", "v1", "expected"), [("v1.34.9", True, None), ("v1.35.0", True, False), ("v1.36.3", False, None)]
)
def test_cgroup_v1_is_forced_only_where_a_kubelet_refuses_it(version: str, v1: bool, expected: bool | None) -> None:
    assert kubelet_configuration(parameters(version, cgroup_v1=v1)).get("failCgroupV1") is expected


def test_conntrack_belongs_to_the_host() -> None:
    assert proxy_configuration(parameters("v1.36.3"), name="demo")["conntrack"] == {"maxPerCore": 0, "min": 0}


def test_the_telling_line_of_kubeadms_complaint_is_found() -> None:
    trace = "To see the stack trace of this error execute with --v=5 or higher"
    output = f"W1123 10:00 warning\nerror execution phase certs: disk is full\n{trace}\n"
    assert complaint(output) == "error execution phase certs: disk is full"
    assert complaint("") == "no reason given"


@pytest.mark.parametrize("version", RECORDED)
def test_slow_machines_are_asked_less_often_and_lose_no_lease(version: str) -> None:
    assert kubelet_configuration(parameters(version))["nodeStatusUpdateFrequency"] == "1s"
    assert kubelet_configuration(parameters(version, slow=True))["nodeStatusUpdateFrequency"] == "5s"
    known = recorded_flags()
    for slow in (False, True):
        documents = init_documents(parameters(version, slow=slow), name="demo", address="10.83.0.10").split("---\n")
        cluster = json.loads(documents[1])
        for field, component in (("controllerManager", "kube-controller-manager"), ("scheduler", "kube-scheduler")):
            arguments = cluster[field]["extraArgs"]
            flags = set(arguments) if isinstance(arguments, dict) else {argument["name"] for argument in arguments}
            assert ("leader-elect-renew-deadline" in flags) is slow
            assert {known.get((component, version, flag)) for flag in flags} <= {"+", "?"}
