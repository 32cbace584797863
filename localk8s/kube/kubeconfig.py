"""The user's kubeconfig files: our entries put in and taken out, the way kubectl itself would do it.

Owns which file is read and written (KUBECONFIG's rules), locking, and writing whole files. What a kubeconfig says is
``kubeconfig_document``'s. ``render`` and ``rename_for`` are offered here too, so that callers need only this module.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localk8s.kube.kubeconfig_document import (
    SECTIONS,
    Document,
    Entries,
    dump,
    entries_for,
    holds,
    merge,
    parse,
    remove,
    rename_for,
    render,
)
from localk8s.kube.kubeconfig_lock import give, locked, make_directory, unusable
from localk8s.model.errors import ConfigError
from localk8s.model.names import context_name
from localk8s.system.files import write_atomic

__all__ = ["current_context", "merge_into_user", "remove_from_user", "rename_for", "render", "user_files"]


@dataclass(slots=True)
class _File:
    """One of the user's files, as read."""

    path: Path
    text: str
    document: Document
    exists: bool


def user_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The kubeconfig files that kubectl would use, in its order: those of KUBECONFIG, else ``~/.kube/config``."""
    named = [part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    if named:
        return tuple(Path(part) for part in dict.fromkeys(named))
    home = environment.get("HOME") or environment.get("USERPROFILE")
    return ((Path(home) if home else Path.home()) / ".kube" / "config",)


def current_context(environment: Mapping[str, str]) -> str:
    """The context that kubectl uses when none is named: that of the first file that has one; empty for none.

    Raises:
        ConfigError: one of the files cannot be read, or is no kubeconfig.
    """
    for path in user_files(environment):
        if current := _read(path).document.get("current-context"):
            return str(current)
    return ""


def merge_into_user(
    kubeconfig_text: str, name: str, *, switch: bool, environment: Mapping[str, str], timeout: float = 10.0
) -> Path:
    """Put the current context of ``kubeconfig_text`` into the user's kubeconfig, as ``localk8s-NAME``.

    Each entry replaces the one of that name in the first file that has it; new ones go to the first file that exists, or
    to the last of the list when none does. The file as it was is kept as ``FILE.localk8s.bak``. Doing it again changes
    nothing.

    Args:
        name: the cluster's name.
        switch: make it the current context.
        environment: for KUBECONFIG and HOME.
        timeout: seconds to wait for another program that holds the lock of a file.

    Returns:
        the file that new entries go to.

    Raises:
        ConfigError: a file cannot be read or written, or is no kubeconfig; nothing was changed.
        WrongStateError: another program holds the lock of a file.
    """
    entries = entries_for(kubeconfig_text, name)
    paths = user_files(environment)
    chosen = next((path for path in paths if os.path.exists(path)), paths[-1])
    with locked(paths, needed={chosen}, timeout=timeout):
        files = [_read(path) for path in paths]
        target = files[paths.index(chosen)]
        changed = _merge(files, target, entries)
        if switch and _current(files) != entries.name:
            target.document["current-context"] = entries.name
            changed.append(target)
        _write_all([file for file in files if any(file is other for other in changed)])
    return target.path


def remove_from_user(name: str, environment: Mapping[str, str], *, timeout: float = 10.0) -> tuple[Path, ...]:
    """Take the entries of cluster ``name`` out of every one of the user's kubeconfig files.

    Only what localk8s put there goes. The current context is cleared in a file only if it was this cluster's.
    That nothing is there succeeds.

    Args:
        environment: for KUBECONFIG and HOME.
        timeout: seconds to wait for another program that holds the lock of a file.

    Returns:
        the files that were changed.

    Raises:
        ConfigError: a file cannot be read or written, or is no kubeconfig; the others were seen to.
        WrongStateError: another program holds the lock of a file; nothing was changed.
    """
    context = context_name(name)
    paths = [path for path in user_files(environment) if os.path.lexists(path) and not _surely_without(path, context)]
    changed: list[Path] = []
    troubles: list[ConfigError] = []
    with locked(paths, needed=paths, timeout=timeout):
        files: list[_File] = []
        for path in paths:
            try:
                files.append(_read(path))
            except ConfigError as exc:
                troubles.append(exc)
        removed = [remove(file.document, context) for file in files]
        left = any(holds(file.document, "contexts", context) for file in files)
        for file, gone in zip(files, removed, strict=True):
            points = file.document.get("current-context") == context and not left
            if points:
                file.document["current-context"] = ""
            if gone or points:
                try:
                    _write(file, backup=False)
                    changed.append(file.path)
                except ConfigError as exc:
                    troubles.append(exc)
    for path in user_files(environment):
        _clean_copy(_copy_of(path), context)
    if troubles:
        raise troubles[0]
    return tuple(changed)


def _clean_copy(copy: Path, context: str) -> None:
    """Take the cluster's entries out of what ``merge_into_user`` kept: they hold a key."""
    if not copy.is_file() or _surely_without(copy, context):
        return
    with contextlib.suppress(ConfigError):
        file = _read(copy)
        if remove(file.document, context):
            if file.document.get("current-context") == context:
                file.document["current-context"] = ""
            _write(file, backup=False)


def _copy_of(path: Path) -> Path:
    """Where the file as it was before a merge is kept: under a name that no user has a file of."""
    path = path.resolve()
    return path.with_name(f"{path.name}.localk8s.bak")


def _merge(files: list[_File], target: _File, entries: Entries) -> list[_File]:
    """Put each entry into the file that has it already, else into ``target``; returns what changed."""
    changed = []
    for section in SECTIONS:
        owner = next((file for file in files if holds(file.document, section, entries.name)), target)
        if merge(owner.document, entries, (section,)):
            changed.append(owner)
    return changed


def _current(files: list[_File]) -> str:
    return next((str(current) for file in files if (current := file.document.get("current-context"))), "")


def _surely_without(path: Path, context: str) -> bool:
    """Whether the file can be left alone: it is readable and the name does not even occur in it."""
    with contextlib.suppress(OSError):
        return context.encode() not in path.read_bytes()
    return False


def _read(path: Path) -> _File:
    try:
        text = path.read_text(encoding="utf-8")
        exists = True
    except FileNotFoundError:
        text, exists = "", False
    except UnicodeDecodeError as exc:
        raise ConfigError(f"The kubeconfig {path} is not a text file.", hint=_set_aside(path)) from exc
    except OSError as exc:
        raise unusable(path, exc) from exc
    try:
        return _File(path, text, parse(text, f"The kubeconfig {path}"), exists)
    except ConfigError as exc:
        exc.hint = _set_aside(path)
        raise


def _write_all(files: list[_File]) -> None:
    """Write all of them, or none when one of them cannot be written to."""
    for file in files:
        directory = file.path.resolve().parent
        if directory.exists() and not os.access(directory, os.W_OK):
            raise unusable(file.path, PermissionError(errno.EACCES, f"{directory} cannot be written to"))
    for file in files:
        _write(file, backup=True)


def _write(file: _File, *, backup: bool) -> None:
    try:
        path = file.path.resolve()
        make_directory(path.parent)
        owner = (path if path.exists() else path.parent).stat()
        if backup and file.exists:
            copy = _copy_of(path)
            write_atomic(copy, file.text, mode=0o600)
            give(copy, owner)
        write_atomic(path, dump(file.document, file.text), mode=0o600)
        give(path, owner)
    except OSError as exc:
        raise unusable(file.path, exc) from exc


def _set_aside(path: Path) -> str:
    return f"mv {shlex.quote(str(path))} {shlex.quote(str(path) + '.broken')}"
