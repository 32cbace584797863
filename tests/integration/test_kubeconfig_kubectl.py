"""localk8s and a real kubectl on the same kubeconfig files: same choice of file, same lock, nothing lost."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from control_plane import kubernetes_programs

from localk8s.kube.kubeconfig import current_context, merge_into_user, remove_from_user, render
from localk8s.kube.kubeconfig_lock import locked
from localk8s.model.errors import ConfigError, WrongStateError

pytestmark = pytest.mark.real

OURS = render(name="x", server="https://10.83.0.10:6443", authority=b"CA", certificate=b"CERT", key=b"KEY")


@pytest.fixture(scope="module")
def kubectl() -> str:
    programs = kubernetes_programs()
    if programs is None:
        pytest.skip("there is no kubectl in the cache: make setup")
    return str(programs / "kubectl")


def config(kubectl: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [kubectl, "config", *arguments], env={"PATH": "/usr/bin", **environment}, capture_output=True, text=True, timeout=60
    )


def test_kubectl_gives_way_while_we_write(kubectl: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    environment = {"KUBECONFIG": str(file), "HOME": str(tmp_path)}
    with locked([file], needed=[file]):
        refused = config(kubectl, environment, "set-context", "a", "--cluster=c")
    assert refused.returncode != 0 and "config.lock" in refused.stderr
    assert config(kubectl, environment, "set-context", "a", "--cluster=c").returncode == 0


def test_both_edit_at_once_and_the_file_stays_whole(kubectl: str, tmp_path: Path) -> None:
    # kubectl reads before it locks, so it may undo what was done in between; what neither touches has to stay
    file = tmp_path / "config"
    environment = {"KUBECONFIG": str(file), "HOME": str(tmp_path)}
    assert config(kubectl, environment, "set-context", "anchor", "--cluster=c").returncode == 0
    merge_into_user(OURS, "anchor", switch=True, environment=environment)

    def theirs(number: int) -> None:
        for _ in range(3):
            done = config(kubectl, environment, "set-context", f"foreign-{number}", "--cluster=c")
            assert done.returncode == 0 or ".lock" in done.stderr, done.stderr

    def ours(number: int) -> None:
        merge_into_user(OURS, f"c{number}", switch=False, environment=environment)
        remove_from_user(f"c{number}", environment)

    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(job, number) for number in range(10) for job in (theirs, ours)]:
            job.result(120)
    listed = config(kubectl, environment, "get-contexts", "-o", "name").stdout.split()
    assert {"anchor", "localk8s-anchor"} <= set(listed)
    assert config(kubectl, environment, "current-context").stdout == "localk8s-anchor\n"
    assert not (tmp_path / "config.lock").exists()


def test_many_of_us_at_once_lose_nothing(kubectl: str, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(tmp_path / "config"), "HOME": str(tmp_path)}

    def ours(number: int) -> None:
        merge_into_user(OURS, f"c{number}", switch=False, environment=environment)
        if number % 2:
            remove_from_user(f"c{number}", environment)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ours, range(16)))
    listed = config(kubectl, environment, "get-contexts", "-o", "name").stdout.split()
    assert sorted(listed) == sorted(f"localk8s-c{number}" for number in range(0, 16, 2))


def test_a_killed_holder_does_not_block_the_next(kubectl: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    program = (
        "import sys, time, pathlib; from localk8s.kube.kubeconfig_lock import locked\n"
        "p = pathlib.Path(sys.argv[1])\nwith locked([p], needed=[p]): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    environment = {"KUBECONFIG": str(file), "HOME": str(tmp_path)}
    with pytest.raises(WrongStateError):
        merge_into_user(OURS, "default", switch=True, environment=environment, timeout=0.2)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    merge_into_user(OURS, "default", switch=True, environment=environment, timeout=0.2)
    assert config(kubectl, environment, "current-context").stdout == "localk8s-default\n"


def test_what_kubectl_rewrote_is_still_known_as_ours(kubectl: str, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(tmp_path / "config"), "HOME": str(tmp_path)}
    merge_into_user(OURS, "default", switch=True, environment=environment)
    config(kubectl, environment, "set-context", "--current", "--namespace=web")
    assert "namespace: web" in (tmp_path / "config").read_text()
    remove_from_user("default", environment)
    assert config(kubectl, environment, "get-contexts", "-o", "name").stdout == ""
    assert config(kubectl, environment, "current-context").returncode != 0


def test_kubectl_uses_what_we_wrote(kubectl: str, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    merge_into_user(OURS, "default", switch=True, environment=environment)
    assert config(kubectl, environment, "current-context").stdout == "localk8s-default\n"
    view = config(kubectl, environment, "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server} {.users[0].name}")
    assert view.stdout == "https://10.83.0.10:6443 localk8s-default"


@pytest.mark.parametrize("existing", ["", "a", "b", "ab", "bc", "c"])
def test_new_entries_go_where_kubectl_puts_them(kubectl: str, tmp_path: Path, existing: str) -> None:
    def changed(root: Path, edit: Callable[[dict[str, str]], object]) -> list[str]:
        root.mkdir()
        for name in existing:
            (root / name).write_text("apiVersion: v1\nkind: Config\n")
        before = {name: (root / name).stat().st_mtime_ns for name in existing}
        edit({"KUBECONFIG": os.pathsep.join(str(root / name) for name in "abc"), "HOME": str(root)})
        names = sorted(path.name for path in root.iterdir() if path.suffix != ".bak")
        return [name for name in names if before.get(name) != (root / name).stat().st_mtime_ns]

    theirs = changed(tmp_path / "k", lambda env: config(kubectl, env, "set-context", "new", "--cluster=c"))
    ours = changed(tmp_path / "l", lambda env: merge_into_user(OURS, "new", switch=False, environment=env))
    assert ours == theirs and len(ours) == 1


@pytest.mark.parametrize(("first", "second"), [("one", "two"), ("", "two"), ("one", "")])
def test_the_current_context_is_the_one_kubectl_sees(kubectl: str, tmp_path: Path, first: str, second: str) -> None:
    for name, current in (("a", first), ("b", second)):
        (tmp_path / name).write_text(f"apiVersion: v1\nkind: Config\ncurrent-context: '{current}'\n")
    environment = {"KUBECONFIG": f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}", "HOME": str(tmp_path)}
    assert current_context(environment) == config(kubectl, environment, "current-context").stdout.strip()
    merge_into_user(OURS, "default", switch=True, environment=environment)
    assert config(kubectl, environment, "current-context").stdout.strip() == "localk8s-default"


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that other users can reach (pytest's own are closed to them)."""
    path = Path(tempfile.mkdtemp(prefix="localk8s-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def as_user(user: int, action: Callable[[], None]) -> str:
    """Run ``action`` as another user in a process of its own; returns the message of its ConfigError, or ``fine``."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            action()
            said = "fine"
        except ConfigError as exc:
            said = f"{exc.message} | {exc.hint}"
        except BaseException as exc:
            said = repr(exc)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


@needs_root
def test_a_read_only_home_is_one_clear_error(public_directory: Path) -> None:
    environment = {"HOME": str(public_directory)}
    merge_into_user(OURS, "warm", switch=True, environment=environment)  # also loads what the child must not load
    before = (public_directory / ".kube" / "config").read_bytes()
    (public_directory / ".kube").chmod(0o755)
    (public_directory / ".kube" / "config").chmod(0o644)

    def merge() -> None:
        merge_into_user(OURS, "default", switch=True, environment=environment)

    said = as_user(65534, merge)
    assert said.startswith(f"The kubeconfig {public_directory}/.kube/config cannot be used: Permission denied.")
    assert "export KUBECONFIG=" in said
    assert (public_directory / ".kube" / "config").read_bytes() == before
    assert as_user(65534, lambda: print(remove_from_user("warm", environment))).startswith("The kubeconfig")


@needs_root
def test_files_of_the_list_that_cannot_be_changed_do_not_matter(public_directory: Path) -> None:
    shared = public_directory / "shared"
    shared.mkdir()
    (shared / "config").write_text("apiVersion: v1\nkind: Config\n")
    home = public_directory / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    (home / "config").write_text("")
    os.chown(home / "config", 65534, 65534)
    environment = {"KUBECONFIG": f"{home / 'config'}{os.pathsep}{shared / 'config'}", "HOME": str(home)}

    def merge() -> None:
        merge_into_user(OURS, "default", switch=True, environment=environment)

    merge()
    remove_from_user("default", environment)
    assert as_user(65534, merge) == "fine"


@needs_root
def test_root_with_anothers_home_leaves_the_files_to_their_owner(public_directory: Path) -> None:
    home = public_directory / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    path = merge_into_user(OURS, "default", switch=True, environment={"HOME": str(home)})
    merge_into_user(OURS, "second", switch=True, environment={"HOME": str(home)})
    for made in (path, path.parent, path.with_name("config.localk8s.bak")):
        assert made.stat().st_uid == 65534
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
