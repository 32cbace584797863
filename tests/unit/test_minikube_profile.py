"""What minikube keeps on disk and lists, and the drift between it and what is asked for."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from pathlib import Path

import pytest
from minikube_recordings import recording

from localk8s.drivers.minikube.drift import profile_changes, refuse, spec_changes, start_command
from localk8s.drivers.minikube.profile import (
    Home,
    ProfileConfig,
    current_profile,
    find_home,
    load_profile,
    other_machines,
    parse_config,
    parse_profile_list,
)
from localk8s.model.errors import WrongStateError
from localk8s.model.quantities import GIB, MIB
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.versions import KubernetesVersion

V1_20 = KubernetesVersion(1, 20, 2)
SIZE = NodeSize(Decimal(2), 2 * GIB, 20 * GIB)


def listed(name: str) -> ProfileConfig:
    profiles = parse_profile_list(recording(name).stdout)
    assert profiles and profiles[0].config
    return profiles[0].config


def spec(**changes: object) -> ClusterSpec:
    base = ClusterSpec("default", "minikube", size=SIZE, kubernetes_version=V1_20, options={"vm-driver": "docker"})
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def docker_profile(**changes: object) -> ProfileConfig:
    config = listed("none-driver/running/profile-list-json")
    base = dataclasses.replace(config, driver="docker", memory=2048, cpus=2, disk=20480, runtime="docker", cni="")
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("none-driver/running/profile-list-json", "OK"),
        ("none-driver/running/profile-list-after-drift", "OK"),
        ("none-driver/running/profile-list-light-json", "Skipped"),
        ("none-driver/paused/profile-list-json", "Paused"),
        ("none-driver/stopped/profile-list-json", "Stopped"),
        ("none-driver/after-failed-start/profile-list-json", ""),
        ("none-driver/after-node-add/profile-list-json", "Stopped"),
        ("ssh-driver/after-failed-start/profile-list-json", ""),
        ("ssh-driver/after-failed-start/profile-list-light-json", "Skipped"),
        ("ssh-driver/after-failed-start/profile-list-after-delete", ""),
    ],
)
def test_recorded_lists(name: str, status: str) -> None:
    profiles = parse_profile_list(recording(name).stdout)
    assert profiles is not None and len(profiles) == 1
    only = profiles[0]
    assert only.valid and only.status == status and only.config is not None
    assert only.config.name == only.name
    assert only.config.kubernetes_version == "v1.20.2" and only.config.runtime == "containerd"


@pytest.mark.parametrize(
    "name",
    ["no-profile/profile-list-json-empty", "no-profile/profile-list-light-json-empty", "none-driver/deleted/profile-list-json"],
)
def test_an_empty_home_has_no_profiles(name: str) -> None:
    assert parse_profile_list(recording(name).stdout) == ()


def test_trap_2_3_a_broken_kubeconfig_makes_the_list_an_error_object() -> None:
    done = recording("none-driver/broken-kubeconfig/profile-list-json")
    assert (done.stdout, done.returncode) == ('{"error":{}}', 80)
    assert parse_profile_list(done.stdout) is None


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", '{"valid":[]}', '{"valid":[{}],"invalid":[]}', '{"valid":7,"invalid":[]}']
)
def test_trap_2_3_other_nonsense_is_no_list(text: str) -> None:
    assert parse_profile_list(text) is None


def test_trap_2_3_an_invalid_profile_has_no_config() -> None:
    text = '{"invalid":[{"Name":"old","Status":"","Config":null,"Active":false,"ActiveKubeContext":false}],"valid":[]}'
    profiles = parse_profile_list(text)
    assert profiles is not None
    assert (profiles[0].name, profiles[0].valid, profiles[0].config) == ("old", False, None)


def test_trap_2_3_the_words_of_both_vocabularies_are_kept_and_decide_nothing() -> None:
    for word in ("Running", "Unknown", "OK", "Degraded", "Starting", "", "Skipped"):
        text = f'{{"invalid":[],"valid":[{{"Name":"p","Status":"{word}","Config":{{"Name":"p"}}}}]}}'
        profiles = parse_profile_list(text)
        assert profiles is not None and profiles[0].status == word


def test_trap_2_3_machine_names_follow_the_nodes() -> None:
    assert listed("none-driver/running/profile-list-json").machine_names == ("minikube",)
    assert listed("none-driver/after-node-add/profile-list-json").machine_names == ("minikube", "minikube-m02")
    alone = dataclasses.replace(docker_profile(), nodes=(dataclasses.replace(docker_profile().nodes[0], name="m01"),))
    assert alone.machine_names == ("minikube",)


def test_a_half_made_profile_has_no_address() -> None:
    assert not listed("ssh-driver/after-failed-start/profile-list-json").has_started
    assert listed("none-driver/after-failed-start/profile-list-json").has_started


def test_the_config_file_is_the_same_configuration(tmp_path: Path) -> None:
    home = Home(tmp_path)
    content = json.loads(recording("none-driver/running/profile-list-json").stdout)["valid"][0]["Config"]
    home.profile("minikube").mkdir(parents=True)
    (home.profile("minikube") / "config.json").write_text(json.dumps(content))
    assert load_profile(home, "minikube") == listed("none-driver/running/profile-list-json")
    assert load_profile(home, "other") is None
    assert other_machines(home, "x") == {"minikube": "minikube"}
    assert other_machines(home, "minikube") == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"Nodes":7}', '{"Memory":"much"}', '{"KubernetesConfig":[1]}'])
def test_a_damaged_config_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.profile("p").mkdir(parents=True)
    (home.profile("p") / "config.json").write_text(text)
    with pytest.raises(WrongStateError, match="cannot be read"):
        load_profile(home, "p")
    assert other_machines(home, "x") == {}


def test_trap_2_14_the_home_folder_is_the_named_one_or_a_child_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_home({}).root == tmp_path / ".minikube"
    assert find_home({"MINIKUBE_HOME": "/x"}).root == Path("/x/.minikube")
    assert find_home({"MINIKUBE_HOME": "/x/.minikube"}).root == Path("/x/.minikube")
    assert find_home({"MINIKUBE_HOME": "/x"}, "/y").root == Path("/y/.minikube")


def test_the_users_current_profile(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert current_profile(home) == ""
    home.config_file.parent.mkdir()
    home.config_file.write_text('{"profile": "mine"}')
    assert current_profile(home) == "mine"
    home.config_file.write_text("[]")
    assert current_profile(home) == ""


def test_trap_6_3_sizes_that_minikube_would_ignore_are_refused_with_both_values() -> None:
    wanted = spec(size=NodeSize(Decimal(4), 4 * GIB, 40 * GIB))
    changes = {change.field: change for change in profile_changes(docker_profile(), wanted)}
    assert {field: (change.recorded, change.wanted) for field, change in changes.items()} == {
        "memory": ("2.0 GiB", "4.0 GiB"),
        "disk-size": ("20.0 GiB", "40.0 GiB"),
        "cpus": ("2", "4"),
    }
    assert not any(change.live for change in changes.values())
    with pytest.raises(WrongStateError) as caught:
        refuse(tuple(changes.values()), "default", start_command(wanted))
    assert "memory is 2.0 GiB, asked for 4.0 GiB" in caught.value.message
    assert caught.value.hint.startswith(
        "localk8s delete && localk8s start --driver minikube --cpus 4 --memory 4g --disk-size 40g"
    )


def test_trap_6_4_registry_flags_that_minikube_would_ignore_are_refused() -> None:
    options = {
        "vm-driver": "docker",
        "insecure-registry": "127.0.0.1:5000",
        "registry-mirror": "https://mirror.example",
        "image-repository": "registry.example/x",
        "binary-mirror": "https://binaries.example",
    }
    changes = {change.field: change.reason for change in profile_changes(docker_profile(), spec(options=options))}
    assert set(changes) == set(options) - {"vm-driver"}
    assert all(reason == "minikube would ignore it without a word" for reason in changes.values())


def test_nothing_differs_from_what_was_recorded() -> None:
    assert profile_changes(docker_profile(), spec()) == ()
    refuse((), "default", "")


def test_trap_2_3_memory_that_minikube_rewrote_when_a_node_was_added_is_no_drift() -> None:
    rewritten = docker_profile(memory=3072)
    assert profile_changes(rewritten, spec(), sizes=False) == ()
    assert [change.field for change in profile_changes(rewritten, spec())] == ["memory"]


def test_a_size_without_bound_has_nothing_to_differ_from() -> None:
    assert profile_changes(docker_profile(memory=0, cpus=0), spec()) == ()


def test_machines_taken_as_they_are_have_no_sizes_to_compare() -> None:
    recorded = listed("none-driver/running/profile-list-json")
    options = {"vm-driver": "none", "container-runtime": "containerd", "cni": "bridge"}
    assert profile_changes(recorded, spec(options=options, size=NodeSize())) == ()
    assert recorded == listed("none-driver/running/profile-list-after-drift"), "minikube recorded nothing of the drift"


def test_version_driver_and_runtime_are_compared() -> None:
    wanted = spec(kubernetes_version=KubernetesVersion(1, 36, 2), options={"vm-driver": "kvm2", "container-runtime": "crio"})
    fields = [change.field for change in profile_changes(docker_profile(), wanted)]
    assert fields == ["vm-driver", "kubernetes-version", "container-runtime"]
    assert profile_changes(docker_profile(runtime="cri-o"), spec(options={"container-runtime": "crio"})) == ()


def test_between_two_specs_nodes_grow_live_and_nothing_else_changes() -> None:
    grown = spec_changes(spec(), spec(nodes=3))
    assert [(change.field, change.live) for change in grown] == [("nodes", True)]
    shrunk = spec_changes(spec(nodes=3), spec(nodes=2))
    assert [(change.field, change.live) for change in shrunk] == [("nodes", False)]
    alone = {"vm-driver": "ssh", "ssh-ip-address": "192.0.2.7"}
    assert [change.live for change in spec_changes(spec(options=alone), spec(options=alone, nodes=2))] == [False]


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("memory", {"size": NodeSize(Decimal(2), 8096 * MIB, 20 * GIB)}),
        ("disk-size", {"size": NodeSize(Decimal(2), 2 * GIB, 30 * GIB)}),
        ("cpus", {"size": NodeSize(Decimal(3), 2 * GIB, 20 * GIB)}),
        ("kubernetes-version", {"kubernetes_version": KubernetesVersion(1, 21, 0)}),
        ("control-planes", {"nodes": 3, "control_planes": 3}),
        ("vm-driver", {"options": {"vm-driver": "none"}}),
        ("container-runtime", {"options": {"container-runtime": "crio"}}),
        ("cni", {"options": {"cni": "calico"}}),
        ("image-repository", {"options": {"image-repository": "r.example"}}),
        ("image-mirror-country", {"options": {"image-mirror-country": "cn"}}),
        ("registry-mirror", {"options": {"registry-mirror": "https://m.example"}}),
        ("insecure-registry", {"options": {"insecure-registry": "127.0.0.1:5000"}}),
        ("static-ip", {"options": {"static-ip": "192.0.2.9"}}),
        ("minikube-arg", {"options": {"minikube-arg": "--extra-config=kubelet.max-pods=9"}}),
    ],
)
def test_every_other_difference_needs_a_new_cluster(field: str, changed: dict[str, object]) -> None:
    found = {change.field: change for change in spec_changes(spec(), spec(**changed))}
    assert field in found and not found[field].live and found[field].reason


def test_force_is_no_difference() -> None:
    options = {"vm-driver": "docker", "minikube-arg": "--force"}
    assert spec_changes(spec(), spec(options=options)) == ()
    assert spec_changes(spec(options=options), spec()) == ()


def test_the_command_that_recreates_names_everything() -> None:
    wanted = spec(name="w", nodes=2, options={"vm-driver": "ssh", "minikube-arg": "--force --x='a b'"})
    assert start_command(wanted) == (
        "localk8s start -c w --driver minikube --nodes 2 --cpus 2 --memory 2g --disk-size 20g --kubernetes-version v1.20.2"
        """ --driver-option 'minikube-arg=--force --x='"'"'a b'"'"'' --driver-option vm-driver=ssh"""
    )


def test_a_config_of_an_older_minikube_lacks_fields() -> None:
    config = parse_config({"Name": "m", "Driver": "virtualbox", "Nodes": [{"Name": "", "IP": "192.0.2.1"}]})
    assert (config.driver, config.memory, config.runtime, config.machine_names) == ("virtualbox", 0, "", ("m",))
