"""kubeadm on whole machines: which phases run in which order, and a manifest for an etcd that is older than its kubeadm."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from localk8s.kubeadm import etcd, machines
from localk8s.kubeadm.documents import cluster_document
from localk8s.kubeadm.parameters import ClusterNetwork, JoinTicket, KubeadmParameters
from localk8s.model.errors import CommandError
from localk8s.model.node import Completed
from localk8s.model.status import NodeRole
from localk8s.model.versions import KubernetesVersion

NETWORK = ClusterNetwork(IPv4Network("192.168.56.0/24"), IPv4Network("10.220.0.0/16"), IPv4Network("10.221.0.0/16"))
PARAMETERS = KubeadmParameters("t", KubernetesVersion(1, 36, 3), NETWORK, "192.168.56.5:6443")
RIGHT = JoinTicket("abcdef.0123456789abcdef", "sha256:" + "0" * 64)
MANIFEST = """spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --experimental-initial-corrupt-check=true
    - --feature-gates=InitialCorruptCheck=true
    - --initial-cluster=t=https://192.168.56.10:2380
    - --name=t
    - --snapshot-count=10000
    - --watch-progress-notify-interval=5s
    image: registry.k8s.io/etcd:TAG
    livenessProbe:
      httpGet:
        path: /livez
        port: probe-port
    startupProbe:
      httpGet:
        path: /readyz
        port: probe-port
"""


class Recorder:
    """A node that notes what it is told to run.

    Args:
        name: its name.
        there: paths for which ``test`` answers yes.
        outputs: start of a command line -> what it prints.
    """

    role = NodeRole.CONTROL_PLANE
    address = "192.168.56.10"

    def __init__(self, name: str = "t", there: Sequence[str] = (), outputs: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.there = set(there)
        self.outputs = dict(outputs or {})
        self.lines: list[str] = []
        self.written: dict[str, str] = {}

    def run(
        self, argv: Sequence[str], *, input: object = None, env: object = None, timeout: float = 60.0, check: bool = True
    ) -> Completed:
        line = " ".join(argv)
        self.lines.append(line)
        code = 0
        if argv[0] == "test":
            code = 0 if self.there & set(argv) else 1
        if check and code:
            raise CommandError(argv, code)
        stdout = next((text for start, text in self.outputs.items() if line.startswith(start)), "")
        return Completed(tuple(argv), code, stdout, "")

    def write(self, target: str, content: str | bytes, *, mode: int = 0o644) -> None:
        self.written[target] = content if isinstance(content, str) else content.decode()

    def copy_in(self, source: Path, target: str, *, mode: int = 0o644) -> None:
        raise AssertionError("not meant")

    def copy_out(self, source: str, target: Path) -> None:
        target.write_text(self.outputs[source])

    def shell(self, argv: Sequence[str] = ()) -> int:
        raise AssertionError("not meant")

    def kubeadm_lines(self) -> list[str]:
        return [line for line in self.lines if line.startswith("kubeadm")]


KNOWS = {
    "3.3.25": (),
    "3.4.23": ("experimental-initial-corrupt-check", "experimental-watch-progress-notify-interval"),
    "3.5.16": ("experimental-initial-corrupt-check", "experimental-watch-progress-notify-interval"),
    "3.6.5": ("feature-gates", "watch-progress-notify-interval", "experimental-watch-progress-notify-interval"),
}
"""Arguments that etcd prints with --help, by version (of those in question)."""


def fitted(tmp_path: Path, manifest: str, version: str, *, here: bool = True) -> str:
    """The manifest after the script ran on it, with its paths moved into ``tmp_path``.

    Args:
        tmp_path: a directory.
        manifest: as kubeadm wrote it.
        version: of the etcd that the image holds.
        here: whether the image is on the machine; otherwise its tag has to do.
    """
    programs, file = tmp_path / "bin", tmp_path / "etcd.yaml"
    programs.mkdir(exist_ok=True)
    helps = "".join(f"  --{flag} 'x'\\n" for flag in KNOWS[version])
    (programs / "ctr").write_text(f"#!/bin/sh\nexit {0 if here else 1}\n")
    (programs / "chroot").write_text(
        f"#!/bin/sh\ncase $3 in --help) printf \"{helps}\" ;; --version) echo 'etcd Version: {version}' ;; esac\n"
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    tag = version if not here else "3.6.6-0"
    if not file.exists() or file.read_text() != manifest:
        file.write_text(manifest.replace("TAG", tag))
    script = etcd._FIT.replace(etcd.ETCD_MANIFEST, str(file)).replace("/etc/kubernetes/", f"{tmp_path}/")
    subprocess.run(["sh", "-ec", script], check=True, env={"PATH": f"{programs}:/usr/bin:/bin"})
    return file.read_text()


def arguments(manifest: str) -> set[str]:
    lines = (line.strip() for line in manifest.splitlines())
    wanted = ("corrupt", "Corrupt", "progress")
    return {line.removeprefix("- ") for line in lines if any(word in line for word in wanted)}


@pytest.mark.parametrize(
    ("version", "here", "expected", "health"),
    [
        ("3.3.25", True, set(), True),
        (
            "3.4.23",
            True,
            {"--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=1s"},
            True,
        ),
        (
            "3.5.16",
            True,
            {"--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s"},
            False,
        ),
        ("3.6.5", True, {"--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s"}, False),
        ("3.6.5", False, {"--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s"}, False),
        (
            "3.5.16",
            False,
            {"--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s"},
            False,
        ),
    ],
)
def test_an_etcd_gets_what_it_knows(tmp_path: Path, version: str, here: bool, expected: set[str], health: bool) -> None:
    text = fitted(tmp_path, MANIFEST, version, here=here)
    assert arguments(text) == expected
    assert text.count("path: /health\n") == (2 if health else 0)
    assert "    - --initial-cluster=t=" in text and "    - --snapshot-count=10000\n" in text
    assert text.count("    - --") == MANIFEST.count("    - --") - 3 + len(expected)
    assert fitted(tmp_path, text, version, here=here) == text


def test_etcds_manifest_fits_before_a_kubelet_sees_it() -> None:
    node = Recorder()
    machines.init(node, PARAMETERS)
    lines = node.lines
    written = next(number for number, line in enumerate(lines) if line.startswith("kubeadm init phase etcd"))
    fits = next(number for number, line in enumerate(lines) if "feature-gates" in line)
    whole = next(number for number, line in enumerate(lines) if "--skip-phases" in line)
    assert written < fits < whole
    skipped = lines[whole].partition("--skip-phases=")[2].split(",")
    assert {"certs", "kubeconfig", "etcd", "control-plane", "addon/coredns"} <= set(skipped)
    assert machines.CONTROL_PLANE_READY in node.written


def test_a_whole_control_plane_is_left_alone() -> None:
    node = Recorder(there=[machines.CONTROL_PLANE_READY])
    machines.init(node, PARAMETERS)
    machines.join_control_plane(Recorder("first"), node, PARAMETERS, RIGHT)
    assert node.kubeadm_lines() == [] and node.written == {}


def test_slow_machines_are_started_one_by_one_with_patient_probes(tmp_path: Path) -> None:
    slow, quick = Recorder(), Recorder()
    machines.init(slow, replace(PARAMETERS, slow=True))
    machines.init(quick, PARAMETERS)
    assert any("failureThreshold" in line for line in slow.lines)
    telling = ("failureThreshold", "mv ", "phase kubelet-start", "/readyz", "--skip-phases")
    order = [next(word for word in telling if word in line) for line in slow.lines if any(word in line for word in telling)]
    assert order[-6:] == ["failureThreshold", "mv ", "phase kubelet-start", "/readyz", "mv ", "--skip-phases"]
    assert "kubelet-start" in slow.lines[-1]
    assert not any("failureThreshold" in line for line in quick.lines)
    (tmp_path / "manifests").mkdir()
    script = machines._BE_PATIENT.replace("/etc/kubernetes/", f"{tmp_path}/")
    file = tmp_path / "manifests/kube-apiserver.yaml"
    file.write_text(
        "      failureThreshold: 8\n      timeoutSeconds: 15\n      failureThreshold: 90\n      timeoutSeconds: 1\n"
    )
    subprocess.run(["sh", "-ec", script], check=True)
    assert [int(line.split()[1]) for line in file.read_text().splitlines()] == [60, 60, 90, 1]


def test_what_a_killed_init_left_is_reset_first() -> None:
    node = Recorder(there=["/etc/kubernetes/pki"])
    machines.init(node, PARAMETERS)
    assert node.kubeadm_lines()[0].startswith("kubeadm reset --force")


def test_a_worker_joins_once_and_its_name_is_free_before() -> None:
    first, node = Recorder("first"), Recorder("t-2")
    machines.join_worker(first, node, PARAMETERS, RIGHT)
    assert any("delete node t-2 --ignore-not-found" in line for line in first.lines)
    assert any(line.startswith("kubeadm join") for line in node.lines)
    joined = Recorder("t-2", there=["/etc/kubernetes/kubelet.conf"])
    machines.join_worker(first, joined, PARAMETERS, RIGHT)
    assert joined.kubeadm_lines() == []


def test_a_control_plane_joins_with_a_key_made_for_it() -> None:
    first, node = Recorder("first"), Recorder("t-2")
    machines.join_control_plane(first, node, PARAMETERS, RIGHT)
    uploaded = first.written[machines._UPLOAD_CONFIG]
    key = uploaded.partition('"certificateKey": "')[2].partition('"')[0]
    assert len(key) == 64 and f'"certificateKey": "{key}"' in node.written[machines.JOIN_CONFIG]
    assert first.lines[-1] == f"rm -f {machines._UPLOAD_CONFIG}", "the key must not stay"
    assert machines.CONTROL_PLANE_READY in node.written


@pytest.mark.parametrize(("gone", "removed"), [("t-2", ["bb"]), ("t-3", []), ("first", [])])
def test_only_the_lost_member_of_etcd_is_removed(gone: str, removed: list[str]) -> None:
    listing = (
        "aa, started, first, https://1:2380, https://1:2379, false\nbb, started, t-2, https://2:2380, https://2:2379, false\n"
    )
    first = Recorder("first", outputs={"kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system exec": listing})
    machines.remove_member(first, gone)
    assert [line.split()[-1] for line in first.lines if " member remove " in line] == removed


def test_a_token_ends_with_the_joins_it_was_made_for() -> None:
    printed = f"kubeadm join x --token {RIGHT.token} --discovery-token-ca-cert-hash {RIGHT.authority_hash}\n"
    signed = f'{{"data": {{"jws-kubeconfig-{RIGHT.identity}": "x"}}}}'
    first = Recorder(
        outputs={
            "/etc/kubernetes/localk8s-ticket": printed,
            "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-public": signed,
        }
    )
    with pytest.raises(RuntimeError), machines.ticket(first, PARAMETERS) as right:
        assert right == RIGHT
        raise RuntimeError("a join failed")
    assert not any(RIGHT.token in line for line in first.lines)
    assert first.lines[-1].startswith(f"kubeadm token delete {right.identity}")


def test_what_watched_through_a_change_of_members_is_started_anew() -> None:
    last, others = Recorder("t-3"), [Recorder("t"), Recorder("t-2")]
    machines.renew_watches(others)
    machines.release_leases(last)
    assert [node.lines for node in others] == [["pkill -x kube-apiserver|kube-controller|kube-scheduler"]] * 2
    leases = [line.partition(" delete ")[2] for line in last.lines]
    assert leases == [f"lease {name} --ignore-not-found" for name in ("kube-controller-manager", "kube-scheduler")]


def test_that_watches_are_due_outlives_a_kill() -> None:
    first = Recorder("t")
    assert not machines.watches_due(first)
    machines.note_watches(first, due=True)
    (mark,) = first.written
    assert machines.watches_due(Recorder("t", there=[mark]))
    machines.note_watches(first, due=False)
    assert first.lines[-1] == f"rm -f {mark}"


def test_etcd_is_asked_again_until_the_api_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter((CommandError(["kubectl"], 1, message="not found"), "8e9e05c52164694d, started, t-2, https://x, https://x"))

    def kubectl(node: object, *arguments: str) -> str:
        answer = next(answers)
        if isinstance(answer, CommandError):
            raise answer
        asked.append(" ".join(arguments[-2:]))
        return answer

    asked: list[str] = []
    monkeypatch.setattr(machines, "kubectl", kubectl)
    machines.remove_member(Recorder("t"), "t-9")
    assert asked == ["member list"]


@pytest.mark.parametrize("minor", [20, 36])
def test_several_etcds_on_one_host_are_patient_with_each_other(minor: int) -> None:
    alone = cluster_document(replace(PARAMETERS, version=KubernetesVersion(1, minor, 2)))
    several = cluster_document(replace(PARAMETERS, version=KubernetesVersion(1, minor, 2), several_control_planes=True))
    assert "etcd" not in alone
    given = several["etcd"]["local"]["extraArgs"]
    pairs = given.items() if minor == 20 else [(each["name"], each["value"]) for each in given]
    assert ("heartbeat-interval", "300") in pairs and ("election-timeout", "3000") in pairs
