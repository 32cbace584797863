"""Under sudo the user's files are the user's: where they are, whose they are, and that nothing else is given away."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from localk8s.cli.session import Session
from localk8s.drivers.native.plan import ClusterPlan, choose_network
from localk8s.drivers.native.storage import ClusterDirectory
from localk8s.kube.kubeconfig import user_files
from localk8s.store.layout import Layout
from localk8s.store.ownership import take_over_files
from localk8s.system import environment, locks, paths
from localk8s.system.environment import Environment
from localk8s.system.files import write_atomic
from localk8s.system.owner import Owner, hand_over, make_owned, set_owner, sudo_owner, take_over

UID, GID = 54321, 54322
SUDO = {"SUDO_UID": str(UID), "SUDO_GID": str(GID), "HOME": "/root"}


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Owner]:
    """An ordinary user with a home, in the user database; this process is root's."""
    home = tmp_path / "home"
    home.mkdir()
    known = {UID: SimpleNamespace(pw_name="learner", pw_dir=str(home), pw_uid=UID)}
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: known[uid])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    yield Owner(UID, GID, "learner", home)
    set_owner(None)


@pytest.fixture
def given(learner: Owner, monkeypatch: pytest.MonkeyPatch) -> Owner:
    """The user for whom files are made from now on; only root can really give them."""
    if os.getuid() != 0:
        pytest.skip("only root gives files away; make test runs this as root in CI")
    os.chown(learner.home, UID, GID)
    set_owner(learner)
    return learner


def _whose(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


def test_sudo_tells_who_typed_it(learner: Owner) -> None:
    assert sudo_owner(SUDO) == learner


@pytest.mark.parametrize(
    "wrong",
    [
        {"SUDO_UID": "0"},
        {"SUDO_UID": "-5"},
        {"SUDO_UID": "learner"},
        {"SUDO_UID": ""},
        {"SUDO_UID": "54399"},
        {"SUDO_UID": "9" * 30},
        {"SUDO_GID": ""},
        {"SUDO_GID": "-1"},
    ],
)
def test_no_ordinary_user_is_nobody_to_give_files_to(learner: Owner, wrong: dict[str, str]) -> None:
    assert sudo_owner({**SUDO, **wrong}) is None


@pytest.mark.parametrize("home", ["/", "/nonexistent", "", "relative", "/etc/passwd"])
def test_who_has_no_home_is_nobody_to_give_files_to(learner: Owner, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="daemon", pw_dir=home, pw_uid=uid))
    assert sudo_owner(SUDO) is None


def test_root_without_sudo_and_an_ordinary_user_are_themselves(learner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sudo_owner({}) is None
    monkeypatch.setattr(os, "geteuid", lambda: UID)
    assert sudo_owner(SUDO) is None


def test_under_sudo_the_roots_are_those_of_the_user(learner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", "/root/state")
    kept = {"XDG_STATE_HOME": "/root/state", "XDG_CONFIG_HOME": str(learner.home / "etc")}
    assert paths.find_roots({**SUDO, **kept}) == paths.Roots(
        learner.home / "etc/localk8s",
        learner.home / ".local/state/localk8s",
        learner.home / ".local/share/localk8s",
        learner.home / ".cache/localk8s",
    )


def test_directories_that_are_named_still_win(learner: Owner) -> None:
    named = {**SUDO, "LOCALK8S_HOME": "/h", "LOCALK8S_CACHE": "/c"}
    assert paths.find_roots(named) == paths.Roots(Path("/h/config"), Path("/h/state"), Path("/h/data"), Path("/c"))


def test_the_kubeconfig_is_that_of_the_user(learner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SUDO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert user_files(environment.read_environment().variables) == (learner.home / ".kube/config",)
    monkeypatch.setenv("KUBECONFIG", "/k")
    assert user_files(environment.read_environment().variables) == (Path("/k"),)


def test_root_without_sudo_keeps_its_home(learner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("HOME", "/root")
    assert environment.read_environment().variables["HOME"] == "/root"
    assert learner.home not in paths.find_roots(os.environ).state.parents


def test_what_is_made_in_the_users_directories_is_the_users(given: Owner) -> None:
    file = given.home / "a/b/file"
    write_atomic(file, "x")
    with locks.exclusive(given.home / "locks/one.lock", what="it"):
        pass
    made = [each for each in given.home.rglob("*") if each.name not in ("home",)]
    assert len(made) == 5
    assert {_whose(each) for each in made} == {(UID, GID)}
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_is_made_in_directories_of_root_stays_roots(given: Owner, tmp_path: Path) -> None:
    native = given.home / "native"
    native.mkdir()  # plainly: root's
    write_atomic(native / "default/plan.json", "x")
    make_owned(tmp_path / "elsewhere/deep")
    assert {_whose(each) for each in (native / "default", native / "default/plan.json", tmp_path / "elsewhere/deep")} == {
        (0, 0)
    }


def test_without_sudo_nothing_is_given(given: Owner) -> None:
    set_owner(None)
    write_atomic(given.home / "a/file", "x")
    assert take_over(given.home) == 0
    assert _whose(given.home / "a/file") == (0, 0)


def test_what_root_left_is_taken_over_and_nothing_else(given: Owner, tmp_path: Path) -> None:
    outside, secret = tmp_path / "outside", tmp_path / "secret"
    outside.mkdir()
    for file in (outside / "file", secret):
        file.write_text("root's")
    left = given.home / "left"
    left.mkdir()
    (left / "log").write_text("x")
    (left / "there").symlink_to(outside)
    os.link(secret, left / "second-name")
    others = left / "others"
    others.mkdir()
    (others / "file").write_text("x")
    os.chown(others, 4242, 4242)
    assert take_over(left) == 3
    assert {_whose(each) for each in (left, left / "log", left / "there")} == {(UID, GID)}
    assert {_whose(each) for each in (outside, outside / "file", secret, others / "file")} == {(0, 0)}
    assert take_over(left) == 0


def test_a_name_that_leads_out_of_the_users_directories_is_left_alone(given: Owner, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("root's")
    (given.home / "link").symlink_to(target)
    hand_over(given.home / "link")
    assert (_whose(target), _whose(given.home / "link")) == ((0, 0), (UID, GID))


def test_a_cluster_of_root_tells_the_user_its_plan_but_shows_no_disk(given: Owner) -> None:
    directory = ClusterDirectory(given.home / ".local/share/localk8s/native/default")
    network = choose_network(())
    directory.save_plan(ClusterPlan("default", "abcdef", network))
    modes = {each: each.stat().st_mode & 0o777 for each in (directory.path.parent, directory.path, directory.plan_file)}
    assert list(modes.values()) == [0o755, 0o755, 0o644]
    assert {_whose(each) for each in modes} == {(0, 0)}
    assert (directory.path / "nodes").stat().st_mode & 0o777 == 0o700
    assert _whose(directory.path.parent.parent) == (UID, GID)


def test_a_command_says_once_what_it_took_over(given: Owner) -> None:
    config = given.home / "config"
    config.mkdir()
    (config / "config.yaml").write_text("")
    session, warned = Session(Environment({"LOCALK8S_HOME": str(given.home)})), []
    session.narrator.warn = warned.append  # type: ignore[method-assign]
    assert session.installation.config_file.parent == config
    assert warned == ["Changed the owner of 2 files of localk8s from root to learner."]
    (config / "later").write_text("x")
    session.hand_over_files()
    assert _whose(config / "later") == (UID, GID)
    assert len(warned) == 1


def test_all_is_the_users_but_what_drivers_keep(given: Owner) -> None:
    layout = Layout(paths.find_roots({"LOCALK8S_HOME": str(given.home)}))
    theirs = [
        layout.record("default"),
        layout.log("default"),
        layout.docker("default", "n") / "key.pem",
        layout.config_file,
        layout.tools / "minikube",
        layout.artifacts / "kubernetes/v1/out",
        layout.artifacts / "locks/one.lock",
    ]
    roots = [layout.driver_data("native") / "default/plan.json", layout.boxes / "box/rootfs/etc"]
    for file in (*theirs, *roots):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    assert take_over_files(layout) > len(theirs)
    assert {_whose(each) for file in theirs for each in (file, file.parent)} == {(UID, GID)}
    assert {_whose(file) for file in roots} == {(0, 0)}
    assert _whose(layout.driver_data("native")) == (0, 0)
    assert take_over_files(layout) == 0
