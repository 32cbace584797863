"""``render``, ``inventory``, ``box``: over the fake driver, and over the real Vagrant driver where no machine is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cli_door import Door, assert_one_sentence

from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network, encode_plan
from localk8s.model.spec import ClusterSpec
from localk8s.model.versions import KubernetesVersion
from localk8s.store.layout import Layout
from localk8s.store.records import Record, Records
from localk8s.system.paths import find_roots

VERSION = KubernetesVersion(1, 20, 2)
OPTIONS = ("--provider", "virtualbox", "--kubernetes-version", "1.20.2")


@pytest.fixture
def box(door: Door) -> Path:
    """A box as it lies in the store, but for its content."""
    directory = door.home / "l8s/cache/boxes/lxc-0123456789abcdef"
    directory.mkdir(parents=True)
    (directory / "images.txt").write_text("k8s.gcr.io/pause:3.2\nk8s.gcr.io/kube-apiserver:v1.20.2\n")
    (directory / "complete").write_text("")
    return directory


@pytest.fixture
def machines(door: Door) -> Layout:
    """A recorded Vagrant cluster with two machines made from a box built here."""
    layout = Layout(find_roots({"LOCALK8S_HOME": str(door.home / "l8s")}))
    spec = ClusterSpec("default", "vagrant", nodes=2, kubernetes_version=VERSION, options={"provider": "lxc"})
    Records(layout).save(Record(spec, created=True))
    plan = ClusterPlan("default", "abcdef", "lxc", choose_network((), "lxc"), (1,), (2,), box="0123456789abcdef")
    directory = layout.driver_data("vagrant") / "clusters/default"
    directory.mkdir(parents=True)
    (directory / "plan.json").write_text(encode_plan(plan))
    return layout


def test_render_of_what_start_would_make(door: Door) -> None:
    ran = door("render", *OPTIONS, "--nodes", "3", "--memory", "3g")
    assert ran.code == 0, ran
    assert ran.out.count("config.vm.define") == 3 and "3072" in ran.out
    assert not (door.home / "l8s/data").exists() and not (door.home / "l8s/state").exists()
    assert door("render", *OPTIONS, "--control-planes", "3").out.count("config.vm.define") == 3
    assert_one_sentence(door("render", *OPTIONS, "--control-planes", "2"), {2})
    assert_one_sentence(door("render", "--provider", "qemu"), {2})


def test_render_names_the_box_that_has_to_be_built_first(door: Door, box: Path) -> None:
    ran = door("render", "--provider", "lxc", "--kubernetes-version", "1.36.3")
    assert_one_sentence(ran, {4})
    assert "hint: localk8s box build --provider lxc" in ran.err
    ran = door("render", "--provider", "lxc", "--kubernetes-version", "1.20.2")
    assert ran.code == 0 and "localk8s-0123456789abcdef" in ran.out


@pytest.mark.usefixtures("machines")
def test_render_of_a_cluster_that_exists(door: Door) -> None:
    ran = door("render")
    assert ran.code == 0 and ran.out.count("config.vm.define") == 2
    refused = door("render", "--nodes", "5")
    assert_one_sentence(refused, {2})


def test_other_drivers_are_exit_8_with_what_to_do(door: Door) -> None:
    assert_one_sentence(door("render", "--driver", "fake"), {8})
    door("start")
    for command in ("render", "inventory"):
        ran = door(command)
        assert_one_sentence(ran, {8})
        assert "--driver vagrant" in ran.err
    assert_one_sentence(door("inventory", "-c", "nothing"), {3})
    assert_one_sentence(door("inventory", "-o", "name"), {8})


@pytest.mark.usefixtures("machines")
def test_inventory_is_yaml_or_json(door: Door) -> None:
    found = yaml.safe_load(door("inventory").out)
    assert list(found["all"]["hosts"]) == ["default", "default-2"]
    assert found["all"]["hosts"]["default-2"]["ansible_user"] == "vagrant"
    assert json.loads(door("inventory", "-o", "json").out) == found
    assert yaml.safe_load(door("inventory", LOCALK8S_OUTPUT="name").out) == found


def test_boxes_are_listed_and_deleted(door: Door, box: Path) -> None:
    base = box.with_name("base-0123")
    base.mkdir()
    row = door("box", "list").out.splitlines()[1].split()
    assert row[:3] == ["localk8s-0123456789abcdef", "lxc", "1.20.2"] and row[-1] == str(box)
    item = door("box", "list", "-o", "json").json["items"][0]
    assert set(item) == {"name", "provider", "kubernetesVersion", "directory", "sizeBytes"}
    assert_one_sentence(door("box", "delete", "localk8s-0123456789abcdef", "other"), {3})
    assert_one_sentence(door("box", "delete"), {2})
    assert_one_sentence(door("box", "delete", "--all"), {2})
    assert box.exists()
    assert door("box", "delete", "localk8s-0123456789abcdef").out == "localk8s-0123456789abcdef is deleted.\n"
    assert not box.exists() and base.exists()
    assert door("box", "list").out == "No boxes. localk8s box build makes one.\n"
    assert door("box", "delete", "--all", "--yes").code == 0 and not base.exists()


def test_a_box_that_cannot_be_built_is_one_sentence(door: Door) -> None:
    assert_one_sentence(door("box", "build", "--provider", "virtualbox", "--kubernetes-version", "1.20.2"), {8})
    assert_one_sentence(door("box", "build", "--provider", "lxc", "--kubernetes-version", "1.9.9"), {2})


def test_start_takes_its_options_by_name(door: Door) -> None:
    asked = ("start", "--dry-run", "--driver", "vagrant", "--control-planes", "two")
    assert_one_sentence(door(*asked), {2})
    ran = door("start", "--dry-run", "--driver", "fake", "--cni", "flannel")
    assert_one_sentence(ran, {2})
    assert "no option cni" in ran.err
    assert_one_sentence(door("start", "--nodes", "2", "--control-planes", "3"), {2})
