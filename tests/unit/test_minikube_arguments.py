"""Whole command lines, held as they are; options and what may be passed through; versions; drivers of minikube's."""

from __future__ import annotations

import dataclasses
import shlex
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minikube_recordings import recording

from localk8s.drivers.minikube import arguments
from localk8s.drivers.minikube.arguments import StartRequest
from localk8s.drivers.minikube.environment import minikube_environment
from localk8s.drivers.minikube.options import normalize, parse_options
from localk8s.drivers.minikube.profile import Home
from localk8s.drivers.minikube.versions import (
    FLOOR,
    MinikubeVersion,
    newest_supported_kubernetes,
    parse_version,
    parse_version_output,
    require_floor,
)
from localk8s.drivers.minikube.vm_drivers import KNOWN, Kind, profile_name, refuse_nodes, refuse_ssh, vm_driver
from localk8s.model.errors import ConfigError, Localk8sError, NotSupportedError, PrerequisiteError, UsageError
from localk8s.model.quantities import GIB, parse_size
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.versions import KubernetesVersion

SIZE = NodeSize(Decimal(2), 2 * GIB, 20 * GIB)
V1_36 = KubernetesVersion(1, 36, 2)
COMMON = (
    "--output=json --profile=localk8s-default --user=localk8s --interactive=false --embed-certs=true"
    " --auto-update-drivers=false"
)
LAST = "--wait=apiserver,system_pods --wait-timeout=6m0s"


def start_line(options: dict[str, str], *, existing: bool = False, profile: str = "localk8s-default", **changes: object) -> str:
    base = ClusterSpec("default", "minikube", size=SIZE, kubernetes_version=V1_36, options=normalize(options, {}))
    spec = dataclasses.replace(base, **changes)  # type: ignore[arg-type]
    parsed = parse_options(spec.options)
    return shlex.join(arguments.start(StartRequest(profile, spec, parsed, parsed.driver, existing)))


def test_the_line_of_the_field_guides() -> None:
    size = NodeSize(Decimal(2), parse_size("8096"), parse_size("30g"))
    assert start_line({"vm-driver": "virtualbox", "container-runtime": "docker"}, size=size) == (
        f"start {COMMON} --driver=virtualbox --kubernetes-version=v1.36.2 --container-runtime=docker --cpus=2 --memory=8096mb"
        f" --disk-size=30720mb --nodes=1 --preload=true --cache-images=true --install-addons=true {LAST}"
    )


def test_the_line_for_several_nodes_on_docker() -> None:
    assert start_line({"vm-driver": "docker", "container-runtime": "docker"}, nodes=5, control_planes=3) == (
        f"start {COMMON} --driver=docker --kubernetes-version=v1.36.2 --container-runtime=docker --cpus=2 --memory=2048mb"
        f" --disk-size=20480mb --nodes=5 --ha=true --preload=true --cache-images=true --install-addons=true {LAST}"
    )


def test_an_existing_profile_is_not_told_its_nodes_again() -> None:
    line = start_line({"vm-driver": "docker", "container-runtime": "docker"}, existing=True, nodes=3)
    assert "--nodes" not in line and "--driver=docker" in line


def test_the_line_for_this_host_as_the_node() -> None:
    options = {"vm-driver": "none", "container-runtime": "containerd", "offline": "true", "minikube-arg": "--force"}
    assert start_line(options, profile="minikube", size=NodeSize(), kubernetes_version=KubernetesVersion(1, 20, 2)) == (
        f"start {COMMON.replace('localk8s-default', 'minikube')} --driver=none --kubernetes-version=v1.20.2"
        f" --container-runtime=containerd --preload=false --cache-images=false --install-addons=false {LAST} --force"
    )


def test_the_line_for_a_remote_machine() -> None:
    options = {
        "vm-driver": "ssh",
        "container-runtime": "containerd",
        "minikube-arg": "--force --ssh-ip-address=192.0.2.7 --ssh-user root --ssh-key=/root/key --ssh-port 2222 --cni=bridge",
    }
    assert start_line(options, size=NodeSize()) == (
        f"start {COMMON} --driver=ssh --kubernetes-version=v1.36.2 --container-runtime=containerd --cni=bridge --preload=false"
        f" --cache-images=true --install-addons=true --ssh-ip-address=192.0.2.7 --ssh-user=root --ssh-key=/root/key"
        f" --ssh-port=2222 {LAST}"
        " --force"
    )


def test_trap_3_2_and_6_5_a_mirror_switches_preloads_off_and_every_mirror_has_its_flag() -> None:
    options = {
        "vm-driver": "docker",
        "container-runtime": "docker",
        "image-repository": "registry.example/google_containers",
        "image-mirror-country": "cn",
        "binary-mirror": "https://mirror.example/kubernetes",
        "registry-mirror": "https://a.example, https://b.example",
        "insecure-registry": "127.0.0.1:5000",
        "base-image": "registry.example/kicbase:v1",
    }
    assert start_line(options) == (
        f"start {COMMON} --driver=docker --kubernetes-version=v1.36.2 --container-runtime=docker --cpus=2 --memory=2048mb"
        " --disk-size=20480mb --nodes=1 --preload=false --cache-images=true --install-addons=true"
        " --image-repository=registry.example/google_containers --image-mirror-country=cn"
        " --binary-mirror=https://mirror.example/kubernetes --registry-mirror=https://a.example,https://b.example"
        f" --insecure-registry=127.0.0.1:5000 --base-image=registry.example/kicbase:v1 {LAST}"
    )


def test_what_the_user_passes_through_replaces_our_own_flag() -> None:
    line = start_line(
        {"vm-driver": "docker", "minikube-arg": "--wait=all --install-addons=false --extra-config kubelet.max-pods=9"}
    )
    assert line.count("--wait=") == 1 and line.count("--install-addons") == 1
    assert line.endswith("--wait=all --install-addons=false --extra-config kubelet.max-pods=9")


def test_the_other_lines() -> None:
    json_of = "--output=json --profile=p --user=localk8s"
    lines = {
        arguments.VERSION: "version --output=json",
        arguments.KUBERNETES_VERSIONS: "config defaults kubernetes-version --output=json",
        arguments.stop("p"): f"stop {json_of} --keep-context-active",
        arguments.delete("p"): f"delete {json_of}",
        arguments.pause("p"): f"pause {json_of}",
        arguments.unpause("p"): f"unpause {json_of}",
        arguments.status("p"): "status --output=json --profile=p",
        arguments.profile_list(): "profile list --light --output=json",
        arguments.update_context("p"): "update-context --profile=p",
        arguments.set_current_profile("p"): "config set profile p",
        arguments.node_add("p"): "node add --profile=p --worker=true --user=localk8s",
        arguments.node_delete("p", "m02"): "node delete m02 --profile=p --user=localk8s",
        arguments.docker_env("p"): "docker-env --profile=p --shell=none --output=json",
        arguments.logs("p", "p-m02", 50): "logs --profile=p --node=p-m02 --length=50",
        arguments.image_list("p"): "image ls --profile=p --format=json",
        arguments.image_load(
            "p", Path("/a/x.tar")
        ): "image load /a/x.tar --profile=p --daemon=false --remote=false --overwrite=true --alsologtostderr",
        arguments.image_remove("p", "x:1"): "image rm x:1 --profile=p --alsologtostderr",
        arguments.image_save("p", "x:1", Path("/a/x.tar")): "image save x:1 /a/x.tar --profile=p --daemon=false --remote=false",
        arguments.image_pull("p", "x:1"): "image pull x:1 --profile=p --alsologtostderr",
        arguments.image_tag("p", "x:1", "y:1"): "image tag x:1 y:1 --profile=p --alsologtostderr",
        arguments.image_build(
            "p", Path("/c"), "x:1", "D", ("A=b",)
        ): "image build /c --profile=p --tag=x:1 --all=true --file=D --build-opt=build-arg=A=b --alsologtostderr",
        arguments.mount("p", Path("/a"), "/b"): "mount /a:/b --profile=p --user=localk8s",
        arguments.dashboard("p", 0): "dashboard --url --port=0 --profile=p --user=localk8s",
    }
    for argv, line in lines.items():
        assert shlex.join(argv) == line


def test_trap_2_12_no_line_ever_deletes_or_stops_all_profiles() -> None:
    for argv in (arguments.delete("p"), arguments.stop("p")):
        assert not {"--all", "--purge"} & set(argv) and "--profile=p" in argv


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("--driver=docker", "--vm-driver"),
        ("--vm-driver=none", "--vm-driver"),
        ("-p mine", "--cluster"),
        ("-pmine", "--cluster"),
        ("--profile=mine", "--cluster"),
        ("--nodes 3", "--nodes"),
        ("-n3", "--nodes"),
        ("--memory=4g", "--memory"),
        ("--cpus=4", "--cpus"),
        ("--disk-size=9g", "--disk-size"),
        ("--kubernetes-version=v1.30.0", "--kubernetes-version"),
        ("-o json", "-o"),
        ("--ha", "one control plane"),
        ("--delete-on-failure", "would delete a cluster"),
        ("--download-only", "makes no cluster"),
        ("--no-kubernetes", "makes no cluster"),
        ("--interactive", "never lets minikube ask"),
        ("--help", "starts nothing"),
        ("mine", "no flag"),
        ("--force mine yours", "no flag"),
        ("'--extra-config kubelet.x=1'", "not one flag"),
        ("'--force", "quote"),
        ("-", "not one flag"),
        ("--ssh-port", "needs a value"),
        ("--ssh-port=x", "ssh-port"),
        ("--ssh-port=70000", "ssh-port"),
        ("--cni=a --cni=b", "given twice"),
        ("'--x=\x07'", "cannot be passed"),
    ],
)
def test_what_cannot_be_passed_through_says_why(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalize({"vm-driver": "docker", "minikube-arg": text}, {})
    assert says in caught.value.message


@pytest.mark.parametrize(
    "options",
    [
        {"colour": "red"},
        {"vm-driver": "../x"},
        {"vm-driver": ""} | {"container-runtime": "rkt"},
        {"image-mirror-country": "de"},
        {"image-repository": "--force"},
        {"binary-mirror": "a b"},
        {"offline": "perhaps"},
        {"start-timeout": "0"},
        {"start-timeout": "1e9"},
        {"static-ip": "a\nb"},
    ],
)
def test_bad_options_are_refused_in_one_sentence(options: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        normalize(options, {})
    assert "\n" not in caught.value.message
    with pytest.raises(ConfigError):
        normalize({}, options)


@given(
    st.dictionaries(
        st.sampled_from(["vm-driver", "minikube-arg", "cni", "registry-mirror", "ssh-key", "offline"]), st.text(max_size=30)
    )
)
def test_hostile_options_are_refused_or_become_whole_words(options: dict[str, str]) -> None:
    try:
        normal = normalize(options, {})
    except Localk8sError as exc:
        assert isinstance(exc, UsageError) and exc.message
        return
    assert normalize(normal, {}) == normal
    spec = ClusterSpec("default", "minikube", size=SIZE, kubernetes_version=V1_36, options=normal)
    parsed = parse_options(normal)
    argv = arguments.start(StartRequest("p", spec, parsed, parsed.driver, existing=False))
    assert argv[0] == "start" and all(word.isprintable() for word in argv)
    assert not any(
        word.startswith(("--profile", "--driver", "-p")) and word not in ("--profile=p",)
        for word in argv[1:]
        if word not in own(parsed)
    )


def own(parsed: object) -> set[str]:
    driver = getattr(parsed, "driver", None)
    return {f"--driver={driver.name}"} if driver else set()


def test_the_command_line_wins_over_the_configuration() -> None:
    merged = normalize({"vm-driver": "kvm"}, {"vm-driver": "docker", "cni": "calico", "binary": "/x/minikube", "home": "/y"})
    assert merged == {"vm-driver": "kvm2", "cni": "calico"}


def test_flags_that_are_options_are_recorded_as_options() -> None:
    text = "--container-runtime=cri-o --registry-mirror=https://a.example --registry-mirror https://b.example --force"
    assert normalize({"minikube-arg": text}, {}) == {
        "container-runtime": "crio",
        "registry-mirror": "https://a.example\nhttps://b.example",
        "minikube-arg": "--force",
    }
    same = {"container-runtime": "containerd"}
    assert normalize({**same, "minikube-arg": "--container-runtime=containerd"}, {}) == same


def test_recorded_versions() -> None:
    assert parse_version_output(recording("no-profile/version-json").stdout) == MinikubeVersion(1, 38, 1)
    assert parse_version(recording("no-profile/version-short").stdout) == MinikubeVersion(1, 38, 1)
    assert str(parse_version("1.39.0-beta.1")) == "v1.39.0"


@pytest.mark.parametrize(
    "text", ["", "{}", "null", '{"minikubeVersion":7}', '{"minikubeVersion":"latest"}', "minikube version: v1.38.1", "[]"]
)
def test_a_program_that_is_no_minikube(text: str) -> None:
    with pytest.raises(PrerequisiteError, match="does not say which version"):
        parse_version_output(text)


def test_trap_2_15_the_floor_and_what_changed_in_which_release() -> None:
    require_floor(FLOOR)
    with pytest.raises(PrerequisiteError) as caught:
        require_floor(MinikubeVersion(1, 28, 9))
    assert caught.value.message == "minikube v1.28.9 is too old: localk8s needs v1.29.0 or newer."
    assert caught.value.hint == "localk8s setup --driver minikube"
    changed = {
        "status_may_be_null": (MinikubeVersion(1, 34, 9), MinikubeVersion(1, 35, 0)),
        "docker_env_with_containerd": (MinikubeVersion(1, 30, 9), MinikubeVersion(1, 31, 0)),
        "several_control_planes": (MinikubeVersion(1, 32, 9), MinikubeVersion(1, 33, 0)),
    }
    for name, (before, since) in changed.items():
        assert (getattr(before, name), getattr(since, name)) == (False, True)


def test_trap_2_15_the_runtime_is_said_whatever_a_release_takes_by_itself() -> None:
    for runtime in ("docker", "containerd"):
        assert f"--container-runtime={runtime}" in start_line({"vm-driver": "kvm2", "container-runtime": runtime})


def test_the_newest_kubernetes_is_a_release_that_is_known_here() -> None:
    listed = '["v1.37.0","v1.36.2","v1.36.10-rc.1","v1.36.1","v1.28.0"]\n'
    assert newest_supported_kubernetes(listed, newest_minor=36) == "v1.36.2"
    assert newest_supported_kubernetes("* v1.30.0-beta.0\n* v1.29.14\n* v1.29.2\n", newest_minor=36) == "v1.29.14"
    assert newest_supported_kubernetes("usage: …", newest_minor=36) is None


def test_what_each_driver_can_and_cannot() -> None:
    table = {driver.name: driver for driver in KNOWN}
    assert [name for name, driver in table.items() if not driver.several_nodes] == ["none", "ssh"]
    assert [name for name, driver in table.items() if not driver.any_profile] == ["none"]
    assert [name for name, driver in table.items() if driver.static_address] == ["docker", "podman"]
    assert vm_driver("qemu").name == "qemu2" and vm_driver("vbox").name == "virtualbox"
    assert vm_driver("brandnew").kind is Kind.VM


def test_readme_3_one_node_is_refused_before_minikube_would_wreck_the_cluster() -> None:
    for name, reason in (("none", "which"), ("ssh", "the machine that it is given")):
        with pytest.raises(NotSupportedError) as caught:
            refuse_nodes(vm_driver(name), 2, 1, "default")
        assert name in caught.value.message and ("this host" in caught.value.message or reason in caught.value.message)
    refuse_nodes(vm_driver("docker"), 5, 3, "default")
    with pytest.raises(NotSupportedError, match="1 or 3 control planes"):
        refuse_nodes(vm_driver("docker"), 5, 2, "default")


def test_readme_4_the_none_driver_takes_one_profile_and_has_no_ssh() -> None:
    assert profile_name("default", vm_driver("none")) == "minikube"
    assert profile_name("default", vm_driver("ssh")) == "localk8s-default"
    assert profile_name("default", None) == "localk8s-default"
    with pytest.raises(NotSupportedError, match="no ssh: its node is this host itself"):
        refuse_ssh(vm_driver("none"))
    refuse_ssh(vm_driver("ssh"))


def test_trap_2_4_profile_names_are_never_words_that_minikube_keeps_for_itself() -> None:
    kept = ("start", "stop", "status", "delete", "config", "open", "profile", "addons", "cache", "logs", "a")
    for name in kept:
        assert profile_name(name, vm_driver("docker")) == f"localk8s-{name}"


def test_trap_2_14_the_environment_is_scrubbed() -> None:
    around = {
        "PATH": "/bin",
        "MINIKUBE_MEMORY": "9g",
        "MINIKUBE_PROFILE": "mine",
        "MINIKUBE_IN_STYLE": "true",
        "MINIKUBE_ROOTLESS": "true",
        "KUBECONFIG": "/home/me/.kube/config",
        "LC_ALL": "fr_FR.UTF-8",
    }
    assert minikube_environment(around, Home(Path("/h/.minikube")), Path("/d/kubeconfig")) == {
        "MINIKUBE_MEMORY": "",
        "MINIKUBE_PROFILE": "",
        "MINIKUBE_ROOTLESS": "",
        "MINIKUBE_IN_STYLE": "false",
        "MINIKUBE_WANTUPDATENOTIFICATION": "false",
        "MINIKUBE_WANTREPORTERRORPROMPT": "false",
        "MINIKUBE_WANTNONEDRIVERWARNING": "false",
        "LC_ALL": "C",
        "MINIKUBE_HOME": "/h/.minikube",
        "KUBECONFIG": "/d/kubeconfig",
    }


def test_trap_2_2_an_active_docker_env_is_undone_and_does_not_change_the_status() -> None:
    around = {
        "MINIKUBE_ACTIVE_DOCKERD": "mine",
        "DOCKER_HOST": "tcp://127.0.0.1:32842",
        "DOCKER_TLS_VERIFY": "1",
        "MINIKUBE_EXISTING_DOCKER_HOST": "unix:///run/mine.sock",
        "SSH_AUTH_SOCK": "/run/agent",
    }
    result = minikube_environment(around, Home(Path("/h")), Path("/d"))
    assert result["MINIKUBE_ACTIVE_DOCKERD"] == ""
    assert (result["DOCKER_HOST"], result["DOCKER_TLS_VERIFY"]) == ("unix:///run/mine.sock", "")
    assert "SSH_AUTH_SOCK" not in result, "the user's own agent stays"
    untouched = minikube_environment({"DOCKER_HOST": "tcp://remote:2376"}, Home(Path("/h")), Path("/d"))
    assert "DOCKER_HOST" not in untouched
