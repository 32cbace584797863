"""The artifact cache on disk: entries that are whole or not there, each made by one process, with a manifest of digests.

An entry is a directory that appears by one rename. Knows nothing of what the entries hold or where it comes from.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts.manifest import MANIFEST, Manifest, describe, read_manifest, verify, write_manifest
from localk8s.artifacts.trouble import cache_trouble, full_cache
from localk8s.model.errors import WrongStateError
from localk8s.model.progress import Step
from localk8s.system import locks
from localk8s.system.disk_space import is_about_space
from localk8s.system.owner import make_owned, take_over
from localk8s.system.wait import Pending, wait_until

_LONGEST_WAIT = 4 * 3600.0
"""Seconds to wait for another process that fetches or builds the same entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One verified entry of the cache."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """Identity of all that is in it: equal digests mean equal files."""
        return self.manifest.digest


class Cache:
    """A directory of entries, shared by all processes of this user.

    Args:
        directory: made when the first entry is; may vanish at any time between runs.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str) -> Path:
        """Where the entry ``name`` (``kubernetes/v1.20.2-amd64``) is, or would be."""
        return self.directory / name

    def work(self, name: str) -> Path:
        """Where the entry is put together; what a killed process left there is used or thrown away by the next."""
        return self.directory / "work" / name.replace("/", "-")

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of all entries below ``kind``, sorted; not verified."""
        try:
            return tuple(
                sorted(f"{kind}/{item.name}" for item in (self.directory / kind).iterdir() if (item / MANIFEST).is_file())
            )
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def find(self, name: str) -> Entry | None:
        """The entry, verified, or None when there is none.

        Raises:
            ArtifactError: a file of it is not what the manifest says; the file is named.
        """
        path = self.path(name)
        with cache_trouble(self.directory):
            if not path.is_dir():
                return None
            hint = f"rm -rf {shlex.quote(str(path))}"
            manifest = verify(path, read_manifest(path, hint), hint)
        return Entry(path, manifest)

    def obtain(
        self, name: str, what: str, step: Step, make: Callable[[Path, Step], Mapping[str, str]], *, resumable: bool = False
    ) -> Entry:
        """The entry ``name``, made if it is not there; of several processes one makes it and the others wait.

        Args:
            name: ``kind/key``.
            what: what it is, for people: ``Kubernetes v1.20.2``.
            step: told how far it is, also while another process makes it.
            make: called with a work directory (kept from a killed run) and a step; fills ``out`` below it and returns
                facts to record, among them ``source``. Whatever it raises leaves no entry.
            resumable: the work directory is worth keeping when ``make`` fails.

        Raises:
            DiskFullError: its disk is full.
            ArtifactError: the cache cannot be written, or an entry is there and bad.
        """
        if found := self.find(name):
            return found
        with cache_trouble(self.directory), self._alone(name, what, step) as shared:
            if found := self.find(name):
                return found
            work = self.work(name)
            make_owned(work, 0o700)
            try:
                facts = make(work, shared)
                self._place(name, work, facts)
            except BaseException as exc:
                full = full_cache(self.directory) if is_about_space(exc) else None  # looked at while it is full
                worth = resumable and any(item.is_file() for item in work.rglob("*"))
                if not worth or full:  # a full disk must not stay full
                    shutil.rmtree(work, ignore_errors=True)
                if full:
                    raise full from exc
                raise
            shutil.rmtree(work, ignore_errors=True)
        return Entry(self.path(name), read_manifest(self.path(name), ""))

    def adopt(self, name: str, what: str, source: Path, step: Step) -> Entry:
        """Make the entry ``name`` of a copy of ``source``, an entry of another cache; every file is checked.

        Raises:
            ArtifactError: a file of ``source`` is not what its manifest says.
        """

        def make(work: Path, shared: Step) -> Mapping[str, str]:
            shared.progress(0, None, f"copying {what}")
            out, manifest = work / "out", read_manifest(source, "")
            shutil.rmtree(out, ignore_errors=True)
            ours = source.is_relative_to(self.directory)  # nobody else writes there: a second name is as good as a copy
            shutil.copytree(source, out, symlinks=True, copy_function=os.link if ours else shutil.copy2)
            verify(out, manifest, "copy the bundle again from where it came")
            return manifest.facts

        return self.obtain(name, what, step, make)

    def remove(self, name: str) -> bool:
        """Remove the entry, or what a killed run left of one (``work/…``); none of that name is fine.

        Returns:
            False when another process is making it just now: then it stays.

        Raises:
            ArtifactError: it cannot be removed.
        """
        path = self.path(name)
        lock = self.directory / "locks" / f"{name.removeprefix('work/').replace('/', '-')}.lock"
        with cache_trouble(self.directory):
            if not path.is_dir():
                return True
            try:
                with locks.exclusive(lock, what=name):
                    doomed = path.with_name(f".{path.name}.removed")  # a reader finds all of it or nothing
                    shutil.rmtree(doomed, ignore_errors=True)
                    os.replace(path, doomed)
                    shutil.rmtree(doomed)
            except WrongStateError:
                return False
        return True

    def _place(self, name: str, work: Path, facts: Mapping[str, str]) -> None:
        out, path = work / "out", self.path(name)
        write_manifest(out, describe(out, facts))
        make_owned(path.parent, 0o700)
        take_over(out)
        os.replace(out, path)

    @contextlib.contextmanager
    def _alone(self, name: str, what: str, step: Step) -> Iterator[Step]:
        """Hold the entry's lock; while another process holds it, show that one's progress."""
        lock = self.directory / "locks" / f"{name.replace('/', '-')}.lock"
        told = lock.with_suffix(".progress")
        with contextlib.ExitStack() as stack:

            def try_lock() -> bool:
                try:
                    stack.enter_context(locks.exclusive(lock, what=what))
                except WrongStateError as exc:
                    _retell(told, step)
                    raise Pending(exc.message) from exc
                return True

            wait_until(try_lock, what=f"another localk8s that is getting {what}", timeout=_LONGEST_WAIT, interval=0.2)
            try:
                yield _SharedStep(step, told)
            finally:
                with contextlib.suppress(OSError):
                    told.unlink()


class _SharedStep:
    """A step that also writes how far it is into a file, for the processes that wait."""

    def __init__(self, step: Step, told: Path) -> None:
        self._step = step
        self._told = told
        self._last = float("-inf")

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        self._step.progress(done, total, detail)
        if time.monotonic() - self._last >= 0.5:
            self._last = time.monotonic()
            with contextlib.suppress(OSError):  # only a courtesy to those who wait
                self._told.write_text(json.dumps([done, total, detail]))

    def finish_as(self, title: str) -> None:
        self._step.finish_as(title)


def _retell(told: Path, step: Step) -> None:
    try:
        done, total, detail = json.loads(told.read_text())
        step.progress(float(done), None if total is None else float(total), f"{detail} (another localk8s is at it)")
    except (OSError, ValueError, TypeError):
        step.progress(0, None, "waiting for another localk8s")
