"""Every command on a cluster of the fake driver: what it does, prints, and leaves."""

from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path

import pytest
import yaml
from cli_door import Door, assert_one_sentence

NODE_KEYS = {"name", "role", "state", "address", "cpus", "memoryBytes", "diskBytes", "reason"}
CLUSTER_KEYS = {
    "apiVersion",
    "kind",
    "name",
    "driver",
    "driverSource",
    "state",
    "kubernetesVersion",
    "context",
    "endpoint",
    "reasons",
    "nodes",
}


def contexts(door: Door) -> list[str]:
    return [entry["name"] for entry in (yaml.safe_load(door.kubeconfig.read_text())["contexts"] or [])]


def test_start_makes_a_cluster_and_its_context_current(door: Door) -> None:
    ran = door("start", "--nodes", "2")
    assert ran.code == 0, ran
    assert ran.out.startswith('Cluster "default" is running: 2 nodes, context localk8s-default is current.\n')
    assert 'localk8s: cluster "default" · fake driver (LOCALK8S_DRIVER) · Kubernetes 1.36.3' in ran.err
    assert "✓ booted 2 nodes" in ran.err
    assert yaml.safe_load(door.kubeconfig.read_text())["current-context"] == "localk8s-default"


def test_start_again_says_so_in_one_line(door: Door) -> None:
    door("start")
    ran = door("start")
    assert (ran.code, ran.out, ran.err) == (0, 'Cluster "default" is already running.\n', "")


def test_no_kubeconfig_leaves_the_users_alone(door: Door) -> None:
    assert door("start", "--no-kubeconfig").code == 0
    assert not door.kubeconfig.exists()
    assert "localk8s-default" in door("kubeconfig").out


def test_secrets_are_for_the_user_alone(door: Door) -> None:
    door("start")
    for path in (door.kubeconfig, *(door.home / "l8s/state/clusters/default").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_status_json_has_exactly_its_keys(door: Door) -> None:
    door("start", "--nodes", "2", "--memory", "3g", "--cpus", "1.5")
    ran = door("status", "-o", "json")
    assert ran.code == 0
    assert set(ran.json) == CLUSTER_KEYS
    assert ran.json["apiVersion"] == "localk8s.dev/v1alpha1"
    assert (ran.json["kind"], ran.json["state"], ran.json["driver"]) == ("Cluster", "running", "fake")
    assert ran.json["driverSource"] == "LOCALK8S_DRIVER"
    assert [set(node) for node in ran.json["nodes"]] == [NODE_KEYS, NODE_KEYS]
    assert ran.json["nodes"][0]["memoryBytes"] == 3 * 1024**3
    assert ran.json["nodes"][0]["cpus"] == 1.5
    assert yaml.safe_load(door("status", "-o", "yaml").out) == ran.json
    assert door("status", "-o", "name").out == "default\ndefault-2\n"


def test_status_table_names_driver_and_why(door: Door) -> None:
    door("start", "--driver", "fake")
    assert "The fake driver was chosen by --driver." in door("status").out


def test_status_without_clusters(door: Door) -> None:
    ran = door("status")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == "error: No clusters.\n  hint: localk8s start\n"


def test_status_of_a_stopped_cluster_is_not_healthy(door: Door) -> None:
    door("start")
    assert door("stop").code == 0
    ran = door("status", "-o", "json")
    assert (ran.code, ran.json["state"]) == (4, "stopped")
    assert door("start").code == 0
    assert door("status").code == 0


def test_list(door: Door) -> None:
    assert door("list").out == "No clusters. localk8s start makes one.\n"
    assert door("list", "-o", "json").json == {"apiVersion": "localk8s.dev/v1alpha1", "kind": "ClusterList", "items": []}
    door("start", "-c", "one")
    door("start", "-c", "two")
    listed = door("list", "-o", "json").json
    assert [item["name"] for item in listed["items"]] == ["one", "two"]
    assert set(listed["items"][0]) == CLUSTER_KEYS - {"apiVersion", "kind"}
    assert door("list", "-o", "name").out == "one\ntwo\n"


def test_one_way_to_name_the_cluster(door: Door) -> None:
    door("start", "-c", "other")
    assert door("ip").code == 3
    assert door("ip", LOCALK8S_CLUSTER="other").code == 0
    assert door("ip", "-c", "none", LOCALK8S_CLUSTER="other").code == 3


def test_ip(door: Door) -> None:
    door("start", "--nodes", "2")
    assert door("ip").out == "192.0.2.10\n"
    assert door("ip", "default-2").out == "192.0.2.11\n"
    assert door("ip", "-o", "json").json == {
        "apiVersion": "localk8s.dev/v1alpha1",
        "kind": "NodeAddress",
        "cluster": "default",
        "node": "default",
        "address": "192.0.2.10",
    }
    assert_one_sentence(door("ip", "default-9"), {3})


def test_ssh_runs_on_the_node_with_its_exit_code(door: Door) -> None:
    door("start", "--nodes", "2")
    assert door("ssh", "--", "hostname").out == "default\n"
    assert door("ssh", "default-2", "--", "hostname").out == "default-2\n"
    assert door("ssh", "default-2", "-c", "default", "--", "exit", "37").code == 37
    assert_one_sentence(door("ssh", "--"), {2})
    assert_one_sentence(door("ssh", "default-2", "ls"), {2})


def test_kubectl_passes_everything_through(door: Door, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    kubectl = tmp_path / "bin/kubectl"
    kubectl.write_text('#!/bin/sh\nprintf "%s|" "$@" >"$TOLD"\necho "$KUBECONFIG" >>"$TOLD"\nexit 9\n')
    kubectl.chmod(0o755)
    door("start", "-c", "x")
    told = {"PATH": str(tmp_path / "bin"), "TOLD": str(tmp_path / "told")}
    ran = door("kubectl", "-c", "x", "-n", "kube-system", "logs", "-c", "main", "--help", "pod", "--", "a b", **told)
    assert ran.code == 9, ran
    kept = door.home / "l8s/state/clusters/x/kubeconfig"
    assert (tmp_path / "told").read_text() == f"-n|kube-system|logs|-c|main|--help|pod|--|a b|{kept}\n"
    assert_one_sentence(door("kubectl", "-c", "x", "get", "nodes", PATH=str(tmp_path)), {5})


def test_kubeconfig_prints_merges_and_removes(door: Door) -> None:
    door("start", "--no-kubeconfig")
    printed = yaml.safe_load(door("kubeconfig").out)
    assert printed["current-context"] == "localk8s-default"
    assert door("kubeconfig", "--merge").out == "Context localk8s-default is current.\n"
    assert contexts(door) == ["localk8s-default"]
    assert door("kubeconfig", "--remove").code == 0
    assert contexts(door) == []
    assert_one_sentence(door("kubeconfig", "--merge", "--remove"), {2})


def test_logs(door: Door) -> None:
    door("start", "--nodes", "2")
    assert door("logs").out == "==> kubelet <==\ndefault is fine\n"
    assert door("logs", "default-2").out == "==> kubelet <==\ndefault-2 is fine\n"
    door("stop")
    last = door("logs", "--run", "last").out
    assert last.startswith("=== ")
    assert last.splitlines()[0].endswith("localk8s stop")
    assert door("logs", "--run", "all").out.count("=== ") == 2
    assert_one_sentence(door("logs", "--run", "first"), {2})
    assert_one_sentence(door("logs", "--lines", "0"), {2})


def test_delete_leaves_nothing(door: Door) -> None:
    door("start")
    assert door("delete", "--yes").code == 0
    assert door.files == set()
    assert contexts(door) == []
    again = door("delete", "--yes")
    assert (again.code, again.out, again.err) == (0, 'There is no cluster "default": nothing to delete.\n', "")


def test_hints_hit_the_cluster_they_are_about_also_where_a_variable_selects_another(door: Door) -> None:
    door("start", "-c", "work")
    door("start", "--keep-on-failure", LOCALK8S_FAKE_FAIL="init")
    ran = door("start", "-c", "default", "--driver", "native", LOCALK8S_CLUSTER="work")
    assert "hint: localk8s delete -c default && localk8s start -c default --driver native" in ran.err
    assert "hint: localk8s delete && localk8s start --driver native" in door("start", "--driver", "native").err


def test_delete_asks_nobody_and_refuses(door: Door) -> None:
    door("start")
    ran = door("delete")
    assert_one_sentence(ran, {2})
    assert "without confirmation" in ran.err
    assert "  hint: add --yes, or run it in a terminal\n" in ran.err
    assert door("status").code == 0


def test_delete_all(door: Door) -> None:
    door("start", "-c", "one")
    door("start", "-c", "two")
    assert_one_sentence(door("delete", "--all", "-c", "one", "--yes"), {2})
    assert door("delete", "--all", "--yes").code == 0
    assert door("list", "-o", "name").out == ""


def test_delete_clears_what_has_lost_its_record(door: Door) -> None:
    door("start", "-c", "lost")
    (door.home / "l8s/state/clusters/lost/cluster.json").unlink()
    assert "Leftovers of cluster" in door("doctor", "--driver", "fake").out
    assert door("delete", "-c", "lost", "--yes").code == 0
    assert "Leftovers" not in door("doctor", "--driver", "fake").out


def test_start_json_is_one_event_a_line(door: Door) -> None:
    ran = door("start", "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    assert all(event["kind"] == "Event" and event["apiVersion"] == "localk8s.dev/v1alpha1" for event in ran.events)
    kinds = [(event["type"], event.get("step")) for event in ran.events]
    assert kinds[0] == ("stepStarted", "check")
    assert ("plan", None) in kinds
    assert kinds[-1] == ("finished", None)
    steps = [step for kind, step in kinds if kind == "stepFinished"]
    assert steps == ["check", "boot", "init", "ready"]
    assert ran.events[-1]["cluster"]["state"] == "running"


def test_a_failure_under_json_is_one_json_line(door: Door) -> None:
    ran = door("start", "-o", "json", LOCALK8S_FAKE_FAIL="init")
    assert ran.code == 1
    error = json.loads(ran.err)
    assert set(error) == {"apiVersion", "kind", "code", "message", "hint", "exitCode"}
    assert (error["kind"], error["code"], error["exitCode"]) == ("Error", "operation_failed", 1)
    assert ("stepFailed", "init") in [(event["type"], event.get("step")) for event in ran.events]
    assert json.loads(door("ip", "-o", "json").err)["code"] == "not_found"
    assert json.loads(door("ip", "--bogus", "-o", "json").err)["code"] == "usage"


def test_quiet_tells_only_errors(door: Door) -> None:
    ran = door("start", "-q")
    assert ran.err == ""
    assert door("stop", "-q").err == ""
    assert door("delete", "-q", "--yes").err == ""


def test_dry_run_changes_nothing(door: Door) -> None:
    ran = door("start", "--nodes", "2", "--dry-run")
    assert ran.code == 0
    assert "would       create" in ran.out
    assert "Nothing was changed." in ran.out
    assert door.files == set()
    assert not door.kubeconfig.exists()
    door("start")
    before = (door.home / "l8s/state/clusters/default/cluster.json").read_bytes()
    assert "memory from 2.0 GiB to 4.0 GiB" in door("start", "--memory", "4g", "--dry-run").out
    assert (door.home / "l8s/state/clusters/default/cluster.json").read_bytes() == before


def test_no_wait_says_that_it_is_starting(door: Door) -> None:
    assert door("start", "--no-wait").out.startswith('Cluster "default" is starting: 1 node')


def test_version(door: Door) -> None:
    assert door("version").out == door("--version").out
    assert set(door("version", "-o", "json").json) == {"apiVersion", "kind", "version", "kubernetes"}


def test_without_a_command_there_is_help(door: Door) -> None:
    ran = door()
    assert ran.code == 2
    assert ran.err.startswith("Usage: localk8s COMMAND")


class TestFailure:
    """A start that fails."""

    def test_is_taken_back_and_its_log_is_kept(self, door: Door) -> None:
        ran = door("start", LOCALK8S_FAKE_FAIL="init")
        assert_one_sentence(ran, {1})
        assert "✗ starting the control plane" in ran.err
        assert "localk8s logs --run last" in ran.err
        assert door("list", "-o", "name").out == ""
        assert "localk8s start" in door("logs", "--run", "last").out
        assert not door.kubeconfig.exists()

    def test_is_kept_when_asked_to(self, door: Door) -> None:
        ran = door("start", "--keep-on-failure", LOCALK8S_FAKE_FAIL="init")
        assert ran.code == 1
        assert "localk8s delete\n" in ran.err
        status = door("status", "-o", "json")
        assert (status.code, status.json["state"]) == (4, "incomplete")
        assert door("start").code == 0
        assert door("status").code == 0

    def test_of_a_restart_keeps_the_cluster(self, door: Door) -> None:
        door("start")
        door("stop")
        assert_one_sentence(door("start", LOCALK8S_FAKE_FAIL="init"), {1})
        assert door("list", "-o", "name").out == "default\n"
        assert door("start").code == 0

    def test_that_cannot_be_taken_back_can_be_deleted_later(self, door: Door) -> None:
        ran = door("start", LOCALK8S_FAKE_FAIL="init,delete")
        assert_one_sentence(ran, {1})
        assert "failed at init" in ran.err
        assert "localk8s delete\n" in ran.err
        assert door("status").code == 4
        assert door("delete", "--yes").code == 0
        assert door.files == set()

    def test_nobody_expected_is_told_in_one_line(self, door: Door) -> None:
        ran = door("start", LOCALK8S_FAKE_BUG="boot")
        assert_one_sentence(ran, {70})
        log = door.home / "l8s/state/bugs.log"
        assert str(log) in ran.err
        assert "ZeroDivisionError: nobody expects this" in log.read_text()
        assert door("status").code == 4
        assert door("delete", "--yes").code == 0

    def test_of_the_check_leaves_nothing(self, door: Door) -> None:
        ran = door("start", "--nodes", "3", LOCALK8S_FAKE_LACKS="memory")
        assert_one_sentence(ran, {5})
        assert "There is not enough memory for 3 nodes." in ran.err
        assert door.files == set()


class TestDrift:
    """A start that asks for something else than what was recorded."""

    def test_what_can_change_is_changed_and_recorded(self, door: Door) -> None:
        door("start")
        ran = door("start", "--memory", "4g", "--nodes", "2")
        assert "changed  memory from 2.0 GiB to 4.0 GiB" in ran.out
        assert [node["memoryBytes"] for node in door("status", "-o", "json").json["nodes"]] == [4 * 1024**3] * 2
        assert door("start", "--memory", "4g").out == 'Cluster "default" is already running.\n'

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--cpus", "1"),
            ("--disk-size", "30g"),
            ("--kubernetes-version", "1.35.1"),
            ("--driver-option", "colour=red"),
        ],
    )
    def test_the_rest_is_refused_with_the_command_that_does_it(self, door: Door, option: str, value: str) -> None:
        door("start", "--nodes", "3", "--memory", "3g")
        ran = door("start", option, value)
        assert_one_sentence(ran, {4})
        hint = next(line.removeprefix("  hint: ") for line in ran.err.splitlines() if line.startswith("  hint: "))
        delete, start = (shlex.split(command)[1:] for command in hint.split(" && "))
        assert door(*delete).code == 2, "pasted without a terminal it asks in vain"
        assert door(*delete, "--yes").code == 0
        assert door(*start).code == 0
        assert door("start", option, value).out == 'Cluster "default" is already running.\n'
        assert door("status", "-o", "json").json["nodes"][0]["memoryBytes"] == 3 * 1024**3

    def test_fewer_nodes_are_refused_with_the_commands_that_delete_them(self, door: Door) -> None:
        door("start", "-c", "two")
        door("start", "--nodes", "3")
        ran = door("start", "--nodes", "1")
        assert_one_sentence(ran, {4})
        assert "  hint: localk8s node delete default-3 && localk8s node delete default-2\n" in ran.err
        assert "localk8s node delete -c two" not in ran.err
        assert "hint: localk8s delete && " in door("start", "--nodes", "1", "--driver-option", "colour=red").err

    def test_recreating_keeps_what_it_was_made_with(self, door: Door) -> None:
        artifacts = door.home / "my artifacts"
        artifacts.mkdir()
        door(
            "start",
            "-c",
            "two",
            "--artifacts",
            str(artifacts),
            "--kubernetes-version",
            "1.30.1",
            "--driver-option",
            "colour=red",
        )
        ran = door("start", "-c", "two", "--cpus", "1")
        hint = next(line for line in ran.err.splitlines() if "hint:" in line)
        assert f"--artifacts '{artifacts}'" in hint
        assert "--kubernetes-version 1.30.1 --driver-option colour=red" in hint and "--yes" not in hint
        assert "delete -c two && localk8s start -c two --driver fake --cpus 1" in hint

    def test_a_driver_that_is_not_there_is_no_reason_to_delete(self, door: Door) -> None:
        door("start")
        ran = door("start", "--driver", "nope")
        assert_one_sentence(ran, {2})
        assert "delete" not in ran.err and "hint: localk8s start --driver native" in ran.err

    @pytest.mark.parametrize(("option", "driver"), [("--vm-driver", "minikube"), ("--provider", "vagrant")])
    def test_an_option_of_another_driver_asks_for_that_driver(self, door: Door, option: str, driver: str) -> None:
        """The line of the old field notes means what it says."""
        door("start")
        ran = door("start", "--memory=8096", "--disk-size=30g", f"{option}=virtualbox")
        assert_one_sentence(ran, {4})
        assert f"asked for {driver}" in ran.err
        assert f"localk8s start --driver {driver} --memory 8096m --disk-size 30g " in ran.err
        fresh = door("start", "-c", "new", "--memory=8096", "--disk-size=30g", f"{option}=virtualbox", PATH="/nowhere")
        assert fresh.code == 5 and driver in fresh.err.lower() and "option" not in fresh.err

    def test_another_driver_is_refused(self, door: Door) -> None:
        door("start")
        ran = door("start", "--driver", "native")
        assert_one_sentence(ran, {4})
        assert "localk8s delete && localk8s start --driver native" in ran.err

    def test_an_exported_variable_does_not_retarget_a_cluster(self, door: Door) -> None:
        door("start")
        assert door("start", LOCALK8S_DRIVER="native").out == 'Cluster "default" is already running.\n'

    def test_of_an_unfinished_cluster_is_finished(self, door: Door) -> None:
        door("start", "--keep-on-failure", LOCALK8S_FAKE_FAIL="ready")
        assert door("start", "--memory", "4g").code == 0
        assert door("status", "-o", "json").json["nodes"][0]["memoryBytes"] == 4 * 1024**3


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"format": 99}', '{"format": 1, "created": true, "spec": {"name": "../../etc"}}', "\xff\xfe", "null"],
)
def test_a_corrupt_record_hides_nothing_and_can_be_deleted(door: Door, damage: str) -> None:
    door("start", "-c", "good")
    door("start", "-c", "bad")
    (door.home / "l8s/state/clusters/bad/cluster.json").write_bytes(damage.encode("latin-1"))
    listed = door("list", "-o", "json").json["items"]
    assert [(item["name"], item["state"]) for item in listed] == [("bad", "broken"), ("good", "running")]
    status = door("status", "-c", "bad", "-o", "json")
    assert (status.code, status.json["state"]) == (4, "broken")
    assert "localk8s delete -c bad" in status.json["reasons"][0]
    assert_one_sentence(door("start", "-c", "bad"), {4})
    assert "cannot be read" in door("doctor", "--driver", "fake").out
    assert door("delete", "-c", "bad", "--yes").code == 0
    assert door("list", "-o", "name").out == "good\n"
    assert contexts(door) == ["localk8s-good"]


@pytest.mark.parametrize("home", ["/proc/localk8s-test", "/dev/null/x"])
def test_a_home_that_cannot_be_written_is_one_sentence(door: Door, home: str) -> None:
    ran = door("start", LOCALK8S_HOME=home)
    assert_one_sentence(ran, {5})
    assert home.split("/")[1] in ran.err
    assert door("list", LOCALK8S_HOME=home).code == 0


def test_a_broken_plugin_is_shown_and_keeps_nobody_from_working(door: Door) -> None:
    ran = door("doctor", "-o", "json")
    broken = [item for item in ran.json["items"] if item["group"] == "broken"]
    assert [item["severity"] for item in broken] == ["error"]
    assert "localk8s_no_such_module" in broken[0]["message"]
    assert "fake" in ran.json["usableDrivers"]
    assert ran.code == 0
    assert_one_sentence(door("start", "--driver", "broken"), {5})
    assert_one_sentence(door("start", "--driver", "nonesuch"), {2})


def test_doctor_judges_the_driver_that_is_named(door: Door) -> None:
    assert door("doctor", "--driver", "fake").code == 0
    ran = door("doctor", "--driver", "fake", "--nodes", "4", LOCALK8S_FAKE_LACKS="disk")
    assert ran.code == 5
    assert "✗ There is not enough disk for 4 nodes." in ran.out
    assert_one_sentence(door("doctor", "--driver", "nonesuch"), {2})


def test_setup_of_a_driver_that_needs_nothing(door: Door) -> None:
    assert door("setup", "--driver", "fake").out == "The fake driver has what it needs.\n"


def test_demo_of_a_cluster_that_does_not_answer(door: Door) -> None:
    ran = door("demo", "-q")
    assert ran.code == 4
    assert 'error: Cluster "default" does not answer.' in ran.err
    assert_one_sentence(door("demo", "--replicas", "0"), {2})
    assert_one_sentence(door("demo", "--replicas", "x"), {2})


def test_config_view_names_every_origin(door: Door) -> None:
    config = door.home / "l8s/config/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(
        "driver: native\ndefaults: {memory: 3g, nodes: 2}\nminikube: {home: /srv/m}\nmirrors: {docker.io: [m.example]}\n"
    )
    found = {item["key"]: (item["value"], item["origin"]) for item in door("config", "view", "-o", "json").json["items"]}
    assert found["driver"] == ("fake", "LOCALK8S_DRIVER")
    assert found["defaults.memory"] == ("3g", str(config))
    assert found["defaults.cpus"] == ("2", "default")
    assert found["mirrors.docker.io"] == ("m.example", str(config))
    assert found["minikube.home"] == ("/srv/m", str(config))
    assert str(config) in door("config", "view", "--show-origin").out
    door("start")
    status = door("status", "-o", "json").json
    assert [node["memoryBytes"] for node in status["nodes"]] == [3 * 1024**3] * 2


def test_driver_by_configuration(door: Door) -> None:
    config = door.home / "other.yaml"
    config.write_text("driver: fake\n")
    ran = door("start", LOCALK8S_DRIVER="", LOCALK8S_CONFIG=str(config))
    assert f"fake driver (driver in {config})" in ran.err
