"""localk8s stops, changes and deletes only the profiles that it made itself; what it half made it makes again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from minikube_world import SIZE, Told, World

from localk8s.drivers.minikube.claim import MARK, Ownership
from localk8s.drivers.minikube.leftovers import HostPlaces, host_traces
from localk8s.model.errors import CommandError, NotFoundError, UsageError, WrongStateError
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterState, NodeState
from localk8s.system.process import HostRunner

PROFILE = "localk8s-default"
MAIN = "import sys; from localk8s.cli.app import main; sys.exit(main())"
NONE = ("--driver", "minikube", "--vm-driver", "none", "--kubernetes-version", "1.20.2", "--minikube-arg", "--force")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.close()


class User:
    """Somebody in a shell who has both localk8s and minikube."""

    def __init__(self, world: World, root: Path) -> None:
        self.world = world
        (root / "l8s" / "config").mkdir(parents=True)
        (root / "l8s" / "config" / "config.yaml").write_text("sources: {offline: true}\n")
        self.environment = {
            **os.environ,
            "LOCALK8S_HOME": str(root / "l8s"),
            "KUBECONFIG": str(root / "kubeconfig"),
            "NO_COLOR": "1",
        }

    def minikube(self, *words: str) -> None:
        subprocess.run(["minikube", *words], env=self.environment, check=True, capture_output=True, timeout=120)

    def localk8s(self, *words: str, code: int = 0) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr


@pytest.fixture
def user(world: World, tmp_path: Path) -> User:
    return User(world, tmp_path)


def replace_profile(world: World, profile: str, driver: str) -> dict[str, bytes]:
    """Delete the profile and make one of the same name, as its user would; returns what is in its folder."""
    environment = {**os.environ, "KUBECONFIG": str(world.root / "users")}
    start = ["start", f"--profile={profile}", f"--driver={driver}", "--kubernetes-version=v1.36.2"]
    for words in (["delete", f"--profile={profile}"], start):
        subprocess.run(["minikube", *words], env=environment, check=True, capture_output=True, timeout=120)
    return content(world, profile)


def content(world: World, profile: str) -> dict[str, bytes]:
    folder = world.home / "profiles" / profile
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("vm", ["docker", "none", "kvm2"])
def test_a_profile_that_its_user_made_afterwards_is_never_touched(world: World, vm: str) -> None:
    profile = "minikube" if vm == "none" else PROFILE
    spec = world.spec(vm, **({"minikube_arg": "--force"} if vm == "none" else {}))
    world.driver().create(spec, Told())
    before = replace_profile(world, profile, vm)
    world.forget_calls()
    status = world.driver().inspect(spec)
    assert status.state is ClusterState.BROKEN
    assert "is not the one that localk8s created" in status.reasons[0]
    assert status.reasons[1] == "localk8s delete forgets the cluster"
    driver = world.driver()
    for use in (
        lambda: driver.stop(spec, Told()),
        lambda: driver.start(spec, Told()),
        lambda: driver.kubeconfig(spec),
        lambda: driver.nodes(spec),
        lambda: driver.pause(spec),
        lambda: driver.unpause(spec),
        lambda: driver.add_node(spec, Told()),
        lambda: driver.stop_node(spec, profile, Told()),
        lambda: driver.docker_environment(spec),
        lambda: driver.image_tool(spec),
        lambda: driver.containerd(spec),
        lambda: driver.logs(spec, profile, 10),
        lambda: driver.mount(spec, profile, Path("/"), "/x"),
        lambda: driver.unmount(spec, profile, "/x"),
        lambda: driver.dashboard(spec, 0).__enter__(),
        lambda: driver.complete(spec),
    ):
        with pytest.raises(WrongStateError, match="is not the one that localk8s created") as caught:
            use()
        assert caught.value.hint == "localk8s delete"
    told = Told()
    world.driver().delete("default", told)
    assert told.warnings == [
        f'minikube\'s profile {profile} is not the one that localk8s created for cluster "default": '
        "it was deleted and created again without localk8s, and is left alone."
    ]
    assert content(world, profile) == before and world.machine(profile) is not None
    assert [argv for argv in world.calls() if argv[0] in ("start", "stop", "delete", "pause", "node", "update-context")] == []
    with pytest.raises(NotFoundError):
        world.driver().inspect(spec)
    with pytest.raises(WrongStateError, match=f"already has a profile {profile} that localk8s did not create"):
        world.spec(vm)


def test_a_user_who_deletes_and_makes_a_profile_keeps_it(user: User, world: World) -> None:
    """The story from the shell: the user's own minikube outlives every command of localk8s."""
    user.localk8s("start", *NONE)
    user.minikube("delete")
    user.minikube("start", "--driver=none", "--force")
    before = content(world, "minikube")
    assert "is not the one that localk8s created" in user.localk8s("stop", code=4)[1]
    assert "is not the one that localk8s created" in user.localk8s("kubectl", "get", "nodes", code=4)[1]
    for command in (("top",), ("image", "ls"), ("ip",), ("kubeconfig",), ("docker-env",), ("logs", "x")):
        assert "is not the one that localk8s created" in user.localk8s(*command, code=4)[1], command
    assert json.loads(user.localk8s("status", "-o", "json", code=4)[0])["state"] == "broken"
    _, err = user.localk8s("start", code=4)
    assert "is left alone" in err and "took back" not in err
    assert "is left alone" in user.localk8s("delete", "--yes")[1]
    assert content(world, "minikube") == before
    world.forget_calls()
    _, err = user.localk8s("start", *NONE, code=4)
    assert "already has a profile minikube that localk8s did not create; it is left alone" in err
    assert "took back" not in err and world.calls("logs") == [], "nothing was made, so nothing is taken back"
    user.localk8s("status", code=3)
    user.localk8s("delete", "--yes")
    assert content(world, "minikube") == before


def test_a_profile_that_was_only_deleted_is_made_again(world: World) -> None:
    spec = world.spec()
    world.driver().create(spec, Told())
    environment = {**os.environ, "KUBECONFIG": str(world.root / "users")}
    delete = ["minikube", "delete", f"--profile={PROFILE}"]
    subprocess.run(delete, env=environment, check=True, capture_output=True, timeout=60)
    assert "is gone: localk8s start creates it again" in world.driver().inspect(spec).reasons[0]
    world.scenario(start="kubeadm")
    with pytest.raises(CommandError):
        world.driver().start(spec, Told())
    assert "its first start did not finish" in world.driver().inspect(spec).reasons[0], "the new profile is half made"
    world.scenario()
    world.driver().start(spec, Told())
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


def test_the_profile_of_a_localk8s_with_another_home_is_not_ours(world: World, tmp_path: Path) -> None:
    spec = world.spec()
    world.driver().create(spec, Told())
    here, world.data = world.data, tmp_path / "other"
    with pytest.raises(WrongStateError, match="that localk8s did not create"):
        world.spec()
    assert world.driver().leftovers([]) == ()
    world.driver().delete("default", Told())
    assert world.profile(PROFILE) is not None
    shutil.rmtree(here)
    assert [finding.fix for finding in world.driver().leftovers([])] == ["localk8s delete -c default"] or [
        finding.fix for finding in world.driver().leftovers([])
    ] == ["localk8s delete"]
    with pytest.raises(WrongStateError, match="was created by a localk8s whose files no longer exist") as caught:
        world.spec()
    assert caught.value.hint == "localk8s delete"
    world.driver().delete("default", Told())
    assert world.profile(PROFILE) is None, "what is left of a localk8s whose files are gone is cleared"


def test_a_machines_folder_without_a_claim_is_not_ours(world: World) -> None:
    folder = world.home / "machines" / PROFILE
    folder.mkdir(parents=True)
    world.driver().delete("default", Told())
    assert folder.is_dir() and world.calls() == []


@pytest.mark.parametrize("step", [3, 8, 11, 13])
def test_a_first_start_that_was_cut_off_is_made_again_whatever_minikube_says(world: World, step: int) -> None:
    """Killed while minikube was at ``step``: it calls the cluster Running from the control plane on, and it is not."""
    world.scenario(start=[f"killed at {step}", ""])
    spec = world.spec("docker")
    with pytest.raises(CommandError, match=r"it was killed \(SIGKILL\)"):
        world.driver().create(spec, Told())
    status = world.driver().inspect(spec)
    assert (status.state, [node.state for node in status.nodes]) == (ClusterState.BROKEN, [NodeState.UNKNOWN])
    assert status.reasons == ("its first start did not finish: localk8s start creates it again",)
    assert world.calls("status") == [], "minikube takes 14 s to answer, and is wrong"
    world.forget_calls()
    told = Told()
    world.driver().start(spec, told)
    assert told.warnings == [f"The first start of minikube's profile {PROFILE} did not finish: it is created again."]
    assert [argv[0] for argv in world.calls() if argv[0] in ("delete", "start")] == ["delete", "start"]
    assert world.driver().inspect(spec).state is ClusterState.RUNNING
    world.driver().delete("default", Told())
    assert not (world.home / "profiles" / PROFILE).exists()


def test_a_start_that_is_cut_off_later_is_gone_on_with(world: World) -> None:
    """Once ``minikube start`` has returned 0, its profile is whole: the same cluster goes on."""
    spec = world.spec()
    world.driver().create(spec, Told())
    world.driver().stop(spec, Told())
    world.scenario(start=["killed at 8", ""])
    with pytest.raises(CommandError):
        world.driver().start(spec, Told())
    world.forget_calls()
    world.driver().start(spec, Told())
    assert world.calls("delete") == []
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


def test_the_mark_is_in_the_profile_before_minikube_is(world: World) -> None:
    world.scenario(start="exit 1")
    spec = world.spec()
    with pytest.raises(CommandError):
        world.driver().create(spec, Told())
    assert list(content(world, PROFILE)) == [MARK] and world.driver()._session(spec).ownership is Ownership.OURS
    world.driver().delete("default", Told())
    assert not (world.home / "profiles" / PROFILE).exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cluster": "../x", "claim": "/", "token": "1"}', "\0"])
def test_a_mark_that_cannot_be_understood_is_none(world: World, text: str) -> None:
    spec = world.spec()
    world.driver().create(spec, Told())
    (world.home / "profiles" / PROFILE / MARK).write_text(text)
    with pytest.raises(WrongStateError, match="is not the one that localk8s created"):
        world.driver().stop(spec, Told())
    assert world.driver().leftovers(["default"]) == ()


def test_names_that_clash_are_refused_before_anything_is_recorded(user: User, world: World) -> None:
    user.localk8s("start", "--driver", "minikube", "--vm-driver", "docker", "--nodes", "2")
    clash = ("start", "-c", "default-m02", "--driver", "minikube", "--vm-driver", "docker")
    _, err = user.localk8s(*clash, code=2)
    assert f"already has a machine called {PROFILE}-m02" in err and "took back" not in err
    user.localk8s("status", "-c", "default-m02", code=3)
    user.localk8s("delete", "--yes")
    with pytest.raises(UsageError):
        world.driver().complete(ClusterSpec("x", "minikube", size=SIZE, options={"colour": "red"}))


def test_what_minikube_leaves_on_this_host_is_named_and_not_touched(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = HostPlaces(tmp_path / "hosts", tmp_path / "net.d", tmp_path / "net")
    monkeypatch.setattr("localk8s.drivers.minikube.leftovers.HOST", places)
    (tmp_path / "bin" / "iptables-save").write_text("#!/bin/sh\necho '*nat'; echo ':KUBE-SERVICES - [0:0]'\n")
    (tmp_path / "bin" / "iptables-save").chmod(0o755)
    spec = world.spec("none", minikube_arg="--force")
    for path in (places.links / "bridge", places.cni / "1-k8s.conflist", places.cni / "10-own.conf.mk_disabled"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    places.hosts.write_text("127.0.0.1 localhost\n10.0.0.2 control-plane.minikube.internal\n")
    world.driver().create(spec, Told())
    told = Told()
    world.driver().delete("default", told)
    assert told.warnings == [
        f"minikube's delete left on this host: the link bridge, {places.cni}/1-k8s.conflist, "
        f"{places.cni}/10-own.conf.mk_disabled, lines in {places.hosts} (minikube.internal), "
        "rules in iptables (chains KUBE-…, CNI-…). localk8s does not touch them."
    ]
    assert (places.cni / "1-k8s.conflist").exists() and "minikube.internal" in places.hosts.read_text()
    for path in (places.hosts, places.cni / "1-k8s.conflist", places.cni / "10-own.conf.mk_disabled", places.links / "bridge"):
        path.unlink()
    (tmp_path / "bin" / "iptables-save").write_text("#!/bin/sh\n")
    assert host_traces(HostRunner(), places) == ()
