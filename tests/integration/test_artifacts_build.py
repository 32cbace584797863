"""The build from source: real Go from Debian on a tree shaped like Kubernetes', killed in the middle and finished."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from localk8s.artifacts.gobuild import build_kubernetes, openapi_packages, unpack_source
from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS
from localk8s.model.progress import SilentReporter
from localk8s.model.versions import KubernetesVersion
from localk8s.system.process import HostRunner
from localk8s.system.wait import wait_until

INSTALLED = Path("/usr/lib/go-1.19")
GO = shutil.which("go")
pytestmark = pytest.mark.real
needs_go = pytest.mark.skipif(not INSTALLED.is_dir() and GO is None, reason="needs a Go")

PROGRAM = """
package main

import (
    "os"
    {extra}
    "k8s.io/component-base/version"
)

func main() {{ os.Stdout.WriteString("{name} " + version.Get() + "\\n") }}
"""
GENERATOR = """
package main

import "os"

func main() {
    given := map[string]string{}
    for i := 1; i+1 < len(os.Args); i += 2 { given[os.Args[i]] = os.Args[i+1] }
    dir := given["-o"] + "/" + given["-p"]
    if err := os.MkdirAll(dir, 0755); err != nil { panic(err) }
    text := "package openapi\\n\\nconst Inputs = \\"" + given["-i"] + "\\"\\n"
    if err := os.WriteFile(dir + "/" + given["-O"] + ".go", []byte(text), 0644); err != nil { panic(err) }
}
"""
BUILD = """
import sys
from pathlib import Path
from localk8s.artifacts.gobuild import build_kubernetes
from localk8s.model.versions import KubernetesVersion
from localk8s.system.process import HostRunner

class Step:
    def progress(self, done, total, detail=""):
        print(done, total, detail, flush=True)
    def finish_as(self, title): ...

build_kubernetes(Path(sys.argv[1]), KubernetesVersion(1, 20, 2), "bookworm", sys.argv[2], HostRunner(), Step())
"""


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_source(root: Path) -> None:
    """The parts of Kubernetes' tree that the build relies on, with programs of three lines."""
    for name in KUBERNETES_PROGRAMS:
        extra = '_ "k8s.io/kubernetes/pkg/generated/openapi"' if name == "kube-apiserver" else ""
        put(root / f"cmd/{name}/main.go", PROGRAM.format(name=name, extra=extra))
    vendor = root / "vendor/k8s.io"
    put(
        vendor / "component-base/version/v.go",
        'package version\n\nvar gitVersion = "none"\n\nfunc Get() string { return gitVersion }\n',
    )
    put(vendor / "kube-openapi/cmd/openapi-gen/main.go", GENERATOR)
    put(root / "staging/src/k8s.io/api/core/v1/doc.go", "// +k8s:openapi-gen=true\npackage v1\n")
    (vendor / "api").symlink_to("../../staging/src/k8s.io/api")  # as in the real tree
    put(vendor / "gengo/examples/doc.go", "// +k8s:openapi-gen=true\npackage examples\n")
    put(root / "pkg/apis/x/doc.go", "// +k8s:openapi-gen=true\npackage x\n")
    put(root / "pkg/generated/openapi/doc.go", "package openapi\n")


def make_toolchain(target: Path) -> None:
    """A Go where the build unpacks Debian's: that of this host, whichever it has."""
    root = INSTALLED
    if not root.is_dir():
        assert GO is not None
        root = Path(subprocess.run([GO, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    (target / "usr/lib").mkdir(parents=True)
    (target / "usr/lib/go-1.19").symlink_to(root)


def of_this_build(work: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if str(work) in " ".join(process.cmdline()) or str(work) in process.environ().get("GOCACHE", ""):
                found.append(process)
        except psutil.Error:
            continue
    return found


@needs_go
def test_a_build_that_is_killed_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, machine = tmp_path / "work", {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    make_source(work / "gopath/src/k8s.io/kubernetes")
    make_toolchain(work / "toolchain")
    put(tmp_path / "path/go", "#!/bin/sh\necho the wrong go >&2\nexit 1\n")
    (tmp_path / "path/go").chmod(0o755)
    for name, value in {
        "PATH": f"{tmp_path}/path:{os.environ['PATH']}",
        "GOFLAGS": "-mod=vendor",
        "GOROOT": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)

    first = subprocess.Popen(
        [sys.executable, "-c", BUILD, work, machine], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert first.stdout is not None
    seen = []
    while "kubelet  3 of 7" not in (line := first.stdout.readline()):
        assert line, "".join(seen)
        seen.append(line)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    wait_until(lambda: not of_this_build(work), what="the compilers to end with the build", timeout=30)
    assert {"kubeadm", "kubectl"} <= set(os.listdir(work / "out"))
    assert not (work / "out/kube-proxy").exists()
    kept = (work / "out/kubeadm").stat()

    with SilentReporter().step("x", "") as step:
        build_kubernetes(work, KubernetesVersion(1, 20, 2), "bookworm", machine, HostRunner(), step)
    assert (work / "out/kubeadm").stat().st_mtime_ns == kept.st_mtime_ns
    assert os.listdir(work) == ["out"], "sources, Go and its cache are gone"
    for name in KUBERNETES_PROGRAMS:
        assert subprocess.run([work / "out" / name], capture_output=True, text=True).stdout == f"{name} v1.20.2\n"
    done = [float(line.split()[0]) for line in seen]
    assert done == sorted(done)


def test_the_tag_decides_which_packages_are_described(tmp_path: Path) -> None:
    make_source(tmp_path)
    assert openapi_packages(tmp_path) == ("k8s.io/api/core/v1", "k8s.io/kubernetes/pkg/apis/x")


def test_a_debian_source_package_is_unpacked_with_its_patches(tmp_path: Path) -> None:
    upstream, packaging, target = tmp_path / "kubernetes-1", tmp_path / "packaging", tmp_path / "target"
    put(upstream / "a.txt", "old\n")
    put(packaging / "debian/patches/series", "one.patch # why\n\n# nothing\n")
    put(packaging / "debian/patches/one.patch", "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-old\n+new\n")
    original, debian = tmp_path / "k_1.orig.tar.gz", tmp_path / "k_1-1.debian.tar.xz"
    subprocess.run(["tar", "-czf", original, "-C", tmp_path, "kubernetes-1"], check=True)
    subprocess.run([sys.executable, "-m", "tarfile", "-c", debian, "debian"], cwd=packaging, check=True)
    target.mkdir()
    unpack_source([tmp_path / "k_1.dsc", original, debian], target, Path("patch"), HostRunner())
    assert (target / "a.txt").read_text() == "new\n"
