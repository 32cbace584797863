"""Each way in which a real minikube misbehaves, and what becomes of it. Named after the traps of the reference page."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psutil
import pytest
from minikube_world import SIZE, Told, World

from localk8s.drivers.minikube import lifecycle
from localk8s.drivers.minikube.images import list_images, load_image, remove_image
from localk8s.drivers.minikube.readiness import Limits
from localk8s.drivers.minikube.tool import end_orphans
from localk8s.model.errors import (
    CommandError,
    Localk8sError,
    NotFoundError,
    NotSupportedError,
    PrerequisiteError,
    UsageError,
    WaitTimeoutError,
    WrongStateError,
)
from localk8s.model.quantities import GIB, MIB
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.status import ClusterState, NodeState, Severity
from localk8s.model.versions import KubernetesVersion

V1_20 = KubernetesVersion(1, 20, 2)
PROFILE = "localk8s-default"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.close()


def create(world: World, spec: ClusterSpec) -> Told:
    told = Told()
    world.driver().create(spec, told)
    return told


def wish(vm: str = "docker", **changes: object) -> ClusterSpec:
    spec = ClusterSpec("default", "minikube", size=SIZE, kubernetes_version=V1_20, options={"vm-driver": vm})
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


def none_spec(world: World, name: str = "default") -> ClusterSpec:
    return world.driver().complete(wish("none", name=name, options={"vm-driver": "none", "minikube-arg": "--force"}))


def ssh_spec(world: World, **options: str) -> ClusterSpec:
    text = "--force --ssh-ip-address=127.0.0.1 --container-runtime=containerd"
    return world.driver().complete(wish("ssh", options={"vm-driver": "ssh", "minikube-arg": text, **options}))


# 2.1 start


def test_trap_2_1_only_the_exit_code_decides(world: World) -> None:
    told = create(world, none_spec(world))
    assert world.driver().inspect(none_spec(world)).state is ClusterState.RUNNING
    assert [done for done, _, _ in told.moves if done > 19] == []
    bar = [done for done, total, _ in told.moves if total == 19]
    assert bar == sorted(bar) and bar[-1] >= 17


def test_trap_2_1_a_start_that_fails_names_step_code_and_reason(world: World) -> None:
    world.scenario(start="kubeadm")
    told = Told()
    with pytest.raises(CommandError) as caught:
        world.driver().create(none_spec(world), told)
    assert caught.value.message == (
        'minikube could not start the cluster at step "Preparing Kubernetes" (exit 80, GUEST_START): '
        "images could not be pulled: no network reaches their registry."
    )
    assert not any("kubeadm" in text for text in told.warnings)
    status = world.driver().inspect(none_spec(world))
    assert (status.state, status.reasons) == (
        ClusterState.BROKEN,
        ("its first start did not finish: localk8s start creates it again",),
    )
    world.scenario()
    create(world, none_spec(world))
    assert world.driver().inspect(none_spec(world)).state is ClusterState.RUNNING


def test_trap_2_1_a_start_that_hangs_ends_and_names_where(world: World) -> None:
    world.scenario(start="hang at 8")
    spec = world.spec("kvm2", start_timeout="2")
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError) as caught:
        create(world, spec)
    assert time.monotonic() - began < 20
    assert 'it hangs at step "Creating VM", creating the virtual machine' in caught.value.message
    assert 'last word: "Creating kvm2 VM' in caught.value.message
    assert caught.value.hint == "localk8s start --driver-option start-timeout=3600"
    assert world.running(f"--profile={PROFILE}") == []


def test_trap_2_1_a_download_never_makes_the_bar_go_back(world: World) -> None:
    told = create(world, world.spec())
    bar = [done for done, total, _ in told.moves if total == 19]
    assert bar == sorted(bar)
    assert any("preload" in detail for _, _, detail in told.moves)


def test_error_json_output_an_unknown_driver(world: World) -> None:
    """TestErrorJSONOutput: exit 56, its reason, our error and code."""
    spec = world.driver().complete(wish("fail"))
    with pytest.raises(NotSupportedError) as caught:
        create(world, spec)
    assert (
        caught.value.message
        == (
            "minikube could not start the cluster (exit 56, DRV_UNSUPPORTED_OS): "
            "The driver 'fail' is not supported on linux/amd64."
        )
        or 'at step "Initial Minikube Setup"' in caught.value.message
    )
    assert caught.value.exit_code == 8


def test_insufficient_storage(world: World) -> None:
    """TestInsufficientStorage: the start fails with it, and a disk that fills later is a broken cluster."""
    world.scenario(start="storage")
    spec = world.spec()
    with pytest.raises(PrerequisiteError, match=r"exit 26, RSRC_DOCKER_STORAGE.*out of disk space"):
        create(world, spec)
    world.scenario()
    create(world, spec)
    world.set_machine(PROFILE, host="InsufficientStorage")
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.BROKEN and status.reasons[0] == f"the disk of {PROFILE} is full"


def test_dry_run_sizes_are_validated_before_any_work(world: World) -> None:
    """DryRun: less memory than minikube takes is refused without a start."""
    spec = wish(size=NodeSize(Decimal(2), 700 * MIB, 20 * GIB))
    findings = world.driver().check(spec)
    bad = [finding for finding in findings if finding.severity is Severity.ERROR]
    assert [finding.subject for finding in bad] == ["memory"] and "1.8 GiB" in bad[0].message
    assert world.calls("start") == []
    with pytest.raises(UsageError, match="whole processors"):
        world.driver().complete(wish(size=NodeSize(Decimal("1.5"), 2 * GIB, 20 * GIB)))
    greedy = world.driver().check(wish(size=NodeSize(Decimal(2), 4096 * GIB, 20 * GIB)))
    assert any("more than this host has" in finding.message for finding in greedy)


def test_error_spam_a_start_that_succeeds_warns_of_nothing(world: World) -> None:
    """TestErrorSpam: no word of trouble where there is none."""
    told = create(world, world.spec())
    assert told.warnings == []
    assert not any(word in title.lower() for title in told.finished[:-1] for word in ("error", "fail", "warning", "conflict"))


def test_readme_2_a_half_made_profile_is_cleared_and_made_anew(world: World) -> None:
    world.scenario(start=["provision", ""])
    spec = ssh_spec(world)
    with pytest.raises(CommandError) as caught:
        create(world, spec)
    assert 'at step "Starting Node" (exit 80, GUEST_PROVISION)' in caught.value.message
    assert caught.value.hint == "localk8s logs --run last"
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.BROKEN and "its first start did not finish" in status.reasons[0]
    assert status.nodes[0].state is NodeState.UNKNOWN and status.nodes[0].address == ""
    began = time.monotonic()
    told = create(world, spec)
    assert time.monotonic() - began < 60, "the dead machine is not tried for nine minutes"
    assert told.warnings[0] == f"The first start of minikube's profile {PROFILE} did not finish: it is created again."
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


def test_readme_2_delete_gets_rid_of_the_profile_that_minikubes_delete_leaves(world: World) -> None:
    world.scenario(start="provision")
    with pytest.raises(CommandError):
        create(world, ssh_spec(world))
    told = Told()
    world.driver().delete("default", told)
    assert world.profile(PROFILE) is None and not (world.home / "machines" / PROFILE).exists()
    assert any("minikube's own delete left folder" in text for text in told.warnings)
    with pytest.raises(NotFoundError):
        world.driver().inspect(ssh_spec(world))


# 2.2 status


@pytest.mark.parametrize("wrong", ["null", "panic"])
def test_trap_2_2_a_machine_that_vanished_is_broken_with_the_reason(world: World, wrong: str) -> None:
    spec = world.spec()
    create(world, spec)
    world.scenario(status=wrong)
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.BROKEN
    assert status.reasons[0].startswith("a machine of it is gone or cannot be reached: ")
    assert status.reasons[1] == "localk8s delete, then start, creates it again"


def test_trap_2_2_a_container_removed_behind_our_back(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.lose_machine(PROFILE)
    assert world.driver().inspect(spec).state is ClusterState.BROKEN
    world.scenario(version="v1.34.0")
    old = world.driver().inspect(spec)
    assert old.state is ClusterState.BROKEN and old.reasons[0] == f"the machine {PROFILE} is gone"
    world.scenario()
    world.driver().start(spec, Told())
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


@pytest.mark.parametrize("wrong", ["garbage", "events", "exit 80", "exit 137"])
def test_trap_2_2_what_cannot_be_understood_is_never_running(world: World, wrong: str) -> None:
    spec = world.spec()
    create(world, spec)
    world.scenario(status=wrong)
    assert world.driver().inspect(spec).state in (ClusterState.UNKNOWN, ClusterState.BROKEN)


def test_trap_2_0_klog_noise_on_standard_error_changes_nothing(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.scenario(status="noise")
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


def test_trap_2_2_a_status_that_hangs_is_not_waited_for(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.scenario(status="hang")
    world.patience(1.8)
    began = time.monotonic()
    assert world.driver().inspect(spec).state is ClusterState.RUNNING, "the API answers, and every node is ready"
    world.set_machine(PROFILE, apiserver="Paused")  # the API hangs too
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.UNKNOWN and status.reasons == ("neither minikube nor the API answered within 1.8 s",)
    assert time.monotonic() - began < 30


def test_a_cluster_that_localk8s_stopped_is_stopped_even_when_minikube_takes_its_time(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.driver().stop(spec, Told())
    world.scenario(status="hang")
    world.patience(1.8)
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.STOPPED and status.nodes[0].state is NodeState.STOPPED


def test_trap_2_2_an_api_server_that_is_down_is_broken(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.set_machine(PROFILE, apiserver="Stopped")
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.BROKEN
    assert status.reasons == (f"the API server of {PROFILE} is stopped", "localk8s start brings it back")
    world.set_machine(PROFILE, apiserver="Running")
    world.close()
    dead = world.driver().inspect(spec)
    assert dead.state is ClusterState.BROKEN and "refused the connection" in dead.reasons[0]


def test_nodes_that_are_not_ready_are_starting(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.scenario(nodes="notready")
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.STARTING and status.nodes[0].state is NodeState.NOT_READY
    assert f"node {PROFILE} is not ready" in status.reasons[0]


# readme 7: kubeconfigs


def test_readme_7_a_stale_kubeconfig_is_mended_by_update_context(world: World) -> None:
    """UpdateContextCmd."""
    spec = world.spec()
    create(world, spec)
    file = next(world.data.rglob("kubeconfig"))
    port = world.driver().inspect(spec).endpoint.rpartition(":")[2]
    file.write_text(file.read_text().replace(port, "9"))
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.BROKEN and "minikube's kubeconfig points elsewhere" in status.reasons[0]
    world.forget_calls()
    world.driver().start(spec, Told())
    assert len(world.calls("update-context")) == 1 and world.calls("start") == []
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


@pytest.mark.parametrize("text", ["[", "", "apiVersion: v1\n"])
def test_readme_7_a_kubeconfig_that_is_no_kubeconfig_is_written_anew(world: World, text: str) -> None:
    spec = world.spec()
    create(world, spec)
    next(world.data.rglob("kubeconfig")).write_text(text)
    with pytest.raises(WrongStateError):
        world.driver().kubeconfig(spec)
    world.driver().start(spec, Told())
    assert "client-certificate-data" in world.driver().kubeconfig(spec), "certificates are embedded by us when minikube did not"
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


# 2.12 stop and delete


def test_trap_2_12_and_6_10_a_stop_that_hangs_says_what_hangs(world: World) -> None:
    spec = world.spec("virtualbox", stop_timeout="2")
    create(world, spec)
    world.scenario(stop="hang in stop")
    with pytest.raises(WaitTimeoutError) as caught:
        world.driver().stop(spec, Told())
    assert "did not stop the cluster within 2 s" in caught.value.message
    assert f'Stopping node "{PROFILE}"' in caught.value.message


def test_trap_2_13_a_stop_that_times_out_by_itself(world: World) -> None:
    spec = world.spec("hyperv")
    with pytest.raises(Localk8sError):
        create(world, spec)  # not on this platform
    spec = world.spec("kvm2", name="other")
    world.driver().create(spec, Told())
    world.scenario(stop="timeout")
    with pytest.raises(WaitTimeoutError, match="exit 82, GUEST_STOP_TIMEOUT"):
        world.driver().stop(spec, Told())


def test_a_stop_that_lies_is_found_out(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.scenario(stop="lies")
    with pytest.raises(Localk8sError, match="something of it still runs"):
        world.driver().stop(spec, Told())


def test_trap_2_12_a_delete_that_exits_0_and_leaves_the_profile(world: World) -> None:
    create(world, world.spec())
    world.scenario(delete="lies")
    told = Told()
    world.driver().delete("default", told)
    assert world.profile(PROFILE) is None
    assert any("left folder" in text for text in told.warnings)


def test_trap_2_12_and_6_15_a_delete_that_leaves_container_volume_and_network(world: World) -> None:
    create(world, world.spec(nodes=2))
    world.scenario(delete="container stays")
    told = Told()
    world.driver().delete("default", told)
    assert world.machine(PROFILE) is None and world.machine(f"{PROFILE}-m02") is None
    assert any(f"container {PROFILE}" in text and f"network {PROFILE}" in text for text in told.warnings)


def test_trap_2_12_a_virtual_machine_that_may_still_be_there_is_listed_and_not_forgotten(world: World) -> None:
    spec = world.spec("kvm2")
    create(world, spec)
    world.scenario(delete="fails")
    with pytest.raises(Localk8sError) as caught:
        world.driver().delete("default", Told())
    assert "could not be removed whole: folder" in caught.value.message and "are left" in caught.value.message
    assert world.profile(PROFILE) is not None, "what would be needed to find it again is kept"
    world.scenario()
    world.driver().delete("default", Told())
    assert world.profile(PROFILE) is None


def test_trap_2_12_a_host_that_stays_is_a_warning(world: World) -> None:
    create(world, world.spec("kvm2"))
    world.scenario(delete="host stays")
    told = Told()
    world.driver().delete("default", told)
    assert told.warnings == ["minikube: Failed to delete cluster: domain is locked"]


def test_trap_2_12_deleting_what_is_not_there_succeeds_even_without_minikube(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    world.driver().delete("nothing", Told())
    assert world.calls() == []


def test_readme_10_no_other_profile_is_ever_deleted(world: World) -> None:
    (world.home / "profiles" / "a b").mkdir(parents=True)
    create(world, world.spec())
    world.driver().delete("default", Told())
    assert (world.home / "profiles" / "a b").is_dir()
    assert not any("--all" in argv for argv in world.calls())


# what a --vm-driver cannot do


@pytest.mark.parametrize("vm", ["none", "ssh"])
def test_readme_3_node_add_never_reaches_a_minikube_that_would_wreck_the_cluster(world: World, vm: str) -> None:
    spec = none_spec(world) if vm == "none" else ssh_spec(world)
    create(world, spec)
    world.forget_calls()
    with pytest.raises(NotSupportedError, match="has one node"):
        world.driver().add_node(spec, Told())
    with pytest.raises(NotSupportedError, match="has one node"):
        world.driver().start(dataclasses.replace(spec, nodes=2), Told())
    assert world.calls("node") == []
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


def test_several_nodes_are_refused_before_anything_is_recorded(world: World) -> None:
    with pytest.raises(NotSupportedError, match="minikube's none driver has one node, this host; asked for 3 nodes"):
        world.driver().complete(wish("none", nodes=3))
    with pytest.raises(NotSupportedError, match=r"takes the machine as it is: --memory 8\.0 GiB"):
        world.driver().complete(wish("none", size=dataclasses.replace(SIZE, memory=8 * GIB)))
    with pytest.raises(NotSupportedError, match="1 or 3 control planes"):
        world.driver().complete(wish("docker", nodes=2, control_planes=2))
    world.scenario(version="v1.32.0")
    with pytest.raises(NotSupportedError, match=r"several need v1.33"):
        world.driver().complete(wish("docker", nodes=3, control_planes=3))


def test_readme_4_the_none_driver_has_one_profile(world: World) -> None:
    create(world, none_spec(world))
    for _ in range(2):
        with pytest.raises(WrongStateError, match='takes one profile, called minikube, and cluster "default" has it'):
            none_spec(world, "second")
    world.driver().delete("second", Told())
    assert world.profile("minikube") is not None, "deleting the second does not touch the first"


def test_a_profile_that_localk8s_did_not_make_is_left_alone(world: World) -> None:
    create(world, none_spec(world))
    (world.home / "profiles" / "minikube" / "localk8s.json").unlink()
    for file in world.data.rglob("claim.json"):
        file.unlink()
    with pytest.raises(WrongStateError, match="already has a profile minikube that localk8s did not create"):
        create(world, none_spec(world))
    world.driver().delete("default", Told())
    assert world.profile("minikube") is not None


def test_name_conflicts_are_refused_both_ways(world: World) -> None:
    """TestMultiNode/ValidateNameConflict."""
    create(world, world.spec(nodes=2))
    with pytest.raises(UsageError, match=f"already has a machine called {PROFILE}-m02"):
        world.spec(name="default-m02")
    world.driver().create(world.spec(name="default-m03"), Told())
    with pytest.raises(UsageError, match=f"Node 3 would be called {PROFILE}-m03"):
        world.driver().add_node(world.spec(nodes=2), Told())


def test_a_node_add_that_fails_or_lies_is_an_error(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.scenario(**{"node add": "lies"})
    with pytest.raises(Localk8sError, match="there are still 1"):
        world.driver().start(dataclasses.replace(spec, nodes=2), Told())
    log = world.root / "log"
    world.scenario(**{"node add": "fails"})
    with pytest.raises(CommandError, match="GUEST_NODE_ADD") as caught:
        world.driver(log=log).add_node(spec, Told())
    assert "ng1eb6" not in caught.value.details and "ng1eb6" not in log.read_text(), "bootstrap tokens are masked"


# 6.3, 6.4: drift


def test_trap_6_3_and_6_4_drift_is_refused_where_minikube_only_warns(world: World) -> None:
    spec = world.spec("kvm2")
    create(world, spec)
    world.driver().stop(spec, Told())
    world.forget_calls()
    options = {**spec.options, "registry-mirror": "https://mirror.example", "image-repository": "registry.example/x"}
    other = dataclasses.replace(spec, size=dataclasses.replace(SIZE, memory=3 * GIB, disk=40 * GIB), options=options)
    with pytest.raises(WrongStateError) as caught:
        world.driver().start(other, Told())
    for part in ("memory is 2.0 GiB, asked for 3.0 GiB", "disk-size is 20.0 GiB, asked for 40.0 GiB", "https://mirror.example"):
        assert part in caught.value.message
    assert caught.value.hint.startswith("localk8s delete && localk8s start --driver minikube")
    assert world.calls("start") == []


def test_trap_2_3_a_node_added_live_changes_the_recorded_memory_and_is_no_drift(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    grown = world.driver().add_node(spec, Told())
    profile = world.profile(PROFILE)
    assert profile is not None and profile["Memory"] == 3072
    world.driver().stop(grown, Told())
    told = Told()
    world.driver().start(grown, told)
    assert world.driver().inspect(grown).state is ClusterState.RUNNING


# 2.9 images


def test_trap_2_9_loading_and_removing_that_exit_0_and_do_nothing_are_found_out(world: World, tmp_path: Path) -> None:
    spec = world.spec()
    create(world, spec)
    session = world.driver()._session(spec)
    archive = image_archive(tmp_path, "example.test/app:1")
    world.scenario(image="lies")
    with pytest.raises(CommandError, match=r"did not load example\.test/app:1, although it says so"):
        load_image(session.tool, PROFILE, "default", archive, ["example.test/app:1"])
    world.scenario()
    load_image(session.tool, PROFILE, "default", archive, ["example.test/app:1"])
    assert [image.names for image in list_images(session.tool, PROFILE, "default")] == [("example.test/app:1",)]
    world.scenario(image="lies")
    with pytest.raises(CommandError, match="did not remove"):
        remove_image(session.tool, PROFILE, "default", "example.test/app:1")
    world.scenario()
    remove_image(session.tool, PROFILE, "default", "example.test/app:1")
    assert list_images(session.tool, PROFILE, "default") == ()
    with pytest.raises(NotFoundError):
        load_image(session.tool, PROFILE, "default", tmp_path / "missing.tar", [])


def image_archive(folder: Path, tag: str) -> Path:
    import io
    import tarfile

    archive = folder / "image.tar"
    with tarfile.open(archive, "w") as tar:
        content = json.dumps([{"RepoTags": [tag], "Layers": [], "Config": "x"}]).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return archive


# readiness


@pytest.mark.parametrize(("mood", "says"), [("nxdomain", "NXDOMAIN"), ("silent", "")])
def test_trap_4_1_ready_means_that_a_name_resolves(world: World, monkeypatch: pytest.MonkeyPatch, mood: str, says: str) -> None:
    monkeypatch.setattr(lifecycle.Wanted, "__init__", _short_limits(lifecycle.Wanted.__init__))
    world.scenario(dns=mood)
    with pytest.raises(WaitTimeoutError) as caught:
        create(world, world.spec())
    assert "for cluster DNS" in caught.value.message and says in caught.value.message


@pytest.mark.parametrize("vm", ["docker", "none"])
def test_a_host_without_a_route_to_services_asks_the_dns_servers_themselves(world: World, vm: str) -> None:
    world.scenario(services_at="127.0.0.77")  # nobody listens there
    create(world, none_spec(world) if vm == "none" else world.spec())


def test_ready_means_that_nodes_are_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle.Wanted, "__init__", _short_limits(lifecycle.Wanted.__init__))
    world.scenario(nodes="notready")
    with pytest.raises(WaitTimeoutError, match="for the nodes to be ready: node localk8s-default is not ready"):
        create(world, world.spec())
    driver = world.driver(wait=False)
    driver.create(world.spec(), Told())


def _short_limits(init: object) -> object:
    def patched(self: object, *args: object, **kwargs: object) -> None:
        init(self, *args, **{**kwargs, "limits": Limits(10, 2, 3)})  # type: ignore[operator]

    return patched


# which minikube


def test_trap_2_15_a_minikube_that_is_too_old_is_refused(world: World) -> None:
    world.scenario(version="v1.28.0")
    with pytest.raises(PrerequisiteError, match=r"minikube v1.28.0 is too old") as caught:
        world.driver().complete(ClusterSpec("default", "minikube", options={"vm-driver": "kvm2"}))
    assert caught.value.hint == "localk8s setup --driver minikube"
    (finding,) = world.driver().check(wish())
    assert finding.severity is Severity.ERROR and finding.fix == "localk8s setup --driver minikube"


def test_no_minikube_at_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (finding,) = world.driver().check(wish())
    assert finding.message == "minikube is not installed on this host (localk8s needs v1.29.0 or newer)."
    with pytest.raises(PrerequisiteError, match="not installed"):
        create(world, wish(options={"vm-driver": "docker", "container-runtime": "docker"}))


def test_an_installed_minikube_is_preferred_when_it_is_new_enough(world: World) -> None:
    tools = world.driver()._context.layout.tools
    tools.mkdir(parents=True)
    fetched = tools / "minikube"
    fetched.write_text('#!/bin/sh\necho \'{"minikubeVersion":"v1.38.9"}\'\n')
    fetched.chmod(0o755)
    session = world.driver()._session(wish())
    assert str(session.tool.version) == "v1.38.1"
    world.scenario(version="v1.20.0")
    assert str(world.driver()._session(wish()).tool.version) == "v1.38.9"
    world.scenario(version="nonsense")
    assert world.driver()._session(wish()).tool.program == fetched


def test_the_version_is_asked_for_once(world: World) -> None:
    create(world, world.spec())
    world.forget_calls()
    driver = world.driver()
    driver.start(world.spec(), Told())
    assert len(world.calls("version")) <= 3, "one for each object that was made here, not one for each command"


def test_trap_2_14_the_environment_of_every_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIKUBE_MEMORY", "64g")
    monkeypatch.setenv("MINIKUBE_ACTIVE_DOCKERD", "other")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    spec = world.spec()
    create(world, spec)
    world.driver().delete("default", Told())
    for env in world.environments():
        assert env["LC_ALL"] == "C" and env["MINIKUBE_IN_STYLE"] == "false"
        assert not env.get("MINIKUBE_MEMORY") and not env.get("MINIKUBE_ACTIVE_DOCKERD") and not env.get("DOCKER_HOST")
        assert env["KUBECONFIG"].startswith(str(world.data))
    audited = [json.loads(line)["data"] for line in (world.home / "logs" / "audit.json").read_text().splitlines()]
    assert {entry["user"] for entry in audited} == {"localk8s"} and {entry["profile"] for entry in audited} == {PROFILE}


# choices


def test_the_driver_is_chosen_by_what_works(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    open_wish = ClusterSpec("default", "minikube", size=SIZE)
    assert world.driver().complete(open_wish).options["vm-driver"] == "docker"
    world.scenario(docker="absent")
    monkeypatch.setenv("PATH", str(world.root.parent / "bin"))
    with pytest.raises(PrerequisiteError, match="None of minikube's drivers works"):
        world.driver().complete(open_wish)
    monkeypatch.setenv("MINIKUBE_DRIVER", "kvm")
    assert world.driver().complete(open_wish).options["vm-driver"] == "kvm2"
    assert world.driver({"vm-driver": "podman"}).complete(open_wish).options["vm-driver"] == "podman"


def test_the_version_is_the_newest_release_that_this_minikube_knows(world: World) -> None:
    assert str(world.driver().complete(ClusterSpec("default", "minikube", size=SIZE)).kubernetes_version) == "v1.36.2"


def test_this_host_without_docker_runs_on_containerd(world: World) -> None:
    world.scenario(docker="absent")
    if not any((Path(folder) / "containerd").exists() for folder in os.environ["PATH"].split(":")):
        pytest.skip("containerd is not on this host")
    assert none_spec(world).options["container-runtime"] == "containerd"


def test_findings_about_each_kind_of_machine(world: World, tmp_path: Path) -> None:
    def subjects(spec: ClusterSpec) -> list[tuple[str, str]]:
        return [(finding.subject, finding.severity.value) for finding in world.driver().check(spec)]

    assert subjects(wish()) == [("minikube", "ok"), ("vm-driver", "ok")]
    world.scenario(docker="absent")
    assert ("vm-driver", "error") in subjects(wish())
    assert ("vm-driver", "error") in subjects(wish("hyperv"))
    assert ("vm-driver", "error") in subjects(wish("virtualbox"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        options = {"vm-driver": "ssh", "ssh-ip-address": "127.0.0.1", "ssh-port": str(server.getsockname()[1])}
        assert ("vm-driver", "ok") in subjects(wish("ssh", options=options))
        lost = {**options, "ssh-key": str(tmp_path / "missing")}
        assert ("vm-driver", "error") in subjects(wish("ssh", options=lost))
    assert ("vm-driver", "error") in subjects(wish("ssh", options=options))
    assert ("vm-driver", "error") in subjects(wish("ssh"))
    mirrored = wish("kvm2", options={"vm-driver": "qemu2", "image-mirror-country": "cn"})
    assert ("mirror", "warning") in subjects(mirrored)


def test_doctor_says_what_is_missing_for_a_start_without_a_network(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALK8S_OFFLINE", "1")
    cache, addons = (next(f for f in world.driver().check(wish()) if f.subject == name) for name in ("cache", "addons"))
    assert "addons are left out" in addons.message
    assert cache.severity is Severity.WARNING
    for part in ("kubeadm v1.20.2", "kubelet v1.20.2", "kubectl v1.20.2", "kicbase", "images of Kubernetes v1.20.2"):
        assert part in cache.message
    machine = world.driver()._context.host.facts().architecture
    for name in ("kubeadm", "kubelet", "kubectl"):
        file = world.home / "cache" / "linux" / machine / "v1.20.2" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    (cache,) = [finding for finding in world.driver().check(none_spec(world)) if finding.subject == "cache"]
    assert cache.severity is Severity.OK
    assert "It has the programs of v1.20.2" in next(f.message for f in world.driver().check(wish()) if f.subject == "cache")


# killed and interrupted


def test_what_a_killed_localk8s_left_running_is_ended_by_the_next_start(world: World) -> None:
    world.scenario(start="hang at 8")
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "import os, pathlib\n"
        "from minikube_world import World, Told\n"
        "from localk8s.model.spec import ClusterSpec\n"
        "w = object.__new__(World); w.root = pathlib.Path(sys.argv[2]); w.data = pathlib.Path(sys.argv[3])\n"
        "from minikube_world import NoArtifacts; w.artifacts = NoArtifacts()\n"
        "w.driver().create(w.spec('kvm2'), Told())\n"
    )
    here = str(Path(__file__).parent)
    child = subprocess.Popen([sys.executable, "-c", script, here, str(world.root), str(world.data)], cwd=Path.cwd())
    deadline = time.monotonic() + 60
    while not (world.root / "hangs").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    orphans = world.running(f"--profile={PROFILE}")
    assert orphans, "minikube goes on by itself"
    world.scenario()
    spec = world.spec("kvm2")
    create(world, spec)
    psutil.wait_procs(orphans, timeout=10)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in orphans)
    assert world.driver().inspect(spec).state is ClusterState.RUNNING
    assert end_orphans(PROFILE, world.driver()._session(spec).kubeconfig) == 0
