"""How a message spells a localk8s command: every hint comes from here, so that it hits the right cluster as pasted.

Owns the spelling alone. Which command helps is decided where the error is raised: ``command`` and ``host_command`` where that
place knows what to run; ``instead`` where it only knows what was wrong in a command that it has not seen (a value, an
option), which is then put into the very line that was typed.

The rule for ``-c``: a command about a cluster names it, except the default one, which a bare command means. Where
``LOCALK8S_CLUSTER`` makes a bare command mean another cluster, the default one is named too. No hint confirms a deletion:
``--yes`` is left to whoever deletes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

DEFAULT_CLUSTER = "default"
"""What a command without ``-c`` is about."""
_DELETING = ("delete", "rm")
_YES = ("--yes", "-y")

_bare = DEFAULT_CLUSTER
"""The cluster that a command without ``-c`` means in the shell of this process."""


class Correction(str):
    """A hint that changes the command which was typed; by itself it reads as what to type instead."""

    right: tuple[str, ...] = ()
    """Options, each with its value; or the argument that replaces ``wrong``."""
    wrong = ""
    before = ""
    """What goes in front of the corrected command: ``sudo``, ``curl … &&``."""


def set_bare_cluster(name: str | None) -> None:
    """Set which cluster a command without ``-c`` means in the user's shell.

    Of the whole process, as its environment is; whoever reads the environment calls it.

    Args:
        name: the value of ``LOCALK8S_CLUSTER``; None when it is not set.
    """
    global _bare
    _bare = name or DEFAULT_CLUSTER


def command(verb: str, *arguments: str, cluster: str) -> str:
    """A localk8s command about a cluster, to paste into a shell.

    Args:
        verb: the command as it is typed: ``start``, ``node delete``.
        arguments: options and arguments behind it; quoted for a shell. ``--yes`` is left out of a deletion.
        cluster: the cluster's name.
    """
    named = [] if cluster == DEFAULT_CLUSTER == _bare else ["-c", cluster]
    return _spelled([*verb.split(), *named, *arguments])


def host_command(verb: str, *arguments: str) -> str:
    """A localk8s command that is not about one cluster (``doctor``, ``list``, ``cache list``), to paste into a shell.

    Args:
        verb: the command as it is typed.
        arguments: options and arguments behind it; quoted for a shell. ``--yes`` is left out of a deletion.
    """
    return _spelled([*verb.split(), *arguments])


def instead(*right: str, of: str = "", after: str = "") -> Correction:
    """What to type instead of something wrong, for a place that does not know the command.

    ::

        instead("--memory", "2g")        # start -c two --nodes 3 --memory 5 -> start -c two --nodes 3 --memory 2g
        instead(".:/src", of="/tmp")     # mount -c two /tmp -> mount -c two .:/src

    Args:
        right: options, each with its value; or the argument that replaces ``of``.
        of: the wrong argument.
        after: a command line that has to run first.
    """
    before = f"{after} &&" if after else ""
    correction = Correction(f"{before} {shlex.join(right)}".strip())
    correction.right, correction.wrong, correction.before = right, of, before
    return correction


def as_root(line: str) -> Correction:
    """The typed line once more, by sudo.

    Args:
        line: what to run where nothing was typed; a command as ``command`` gives it.
    """
    correction = Correction(f"sudo {line}")
    correction.before = "sudo"
    return correction


def completed(hint: str, verb: str, *arguments: str, cluster: str) -> str:
    """A hint as it reads where no command was typed that it could correct.

    Args:
        hint: any; only options of ``instead`` are made a command.
        verb: the command that takes them.
        arguments: what goes before them.
        cluster: the cluster's name.
    """
    if not isinstance(hint, Correction) or hint.wrong or not hint.right:
        return str(hint)
    return f"{hint.before} {command(verb, *arguments, *hint.right, cluster=cluster)}".strip()


def corrected(typed: Sequence[str], correction: Correction, options: Iterable[str]) -> str | None:
    """The typed command with a correction; None when it does not fit that command.

    Args:
        typed: the words behind ``localk8s``.
        correction: what is wrong in it.
        options: the names of all options that the command takes.
    """
    words, right = list(typed), list(correction.right)
    if correction.wrong:
        if correction.wrong not in words:
            return None
        place = len(words) - words[::-1].index(correction.wrong) - 1
        words = [*words[:place], *right, *words[place + 1 :]]
    else:
        known = set(options)
        while right:
            option, value, *right = right
            if option not in known:
                return None
            words = _with_option(words, option, value)
    return f"{correction.before} {_spelled(words)}".strip()


def _with_option(words: Sequence[str], option: str, value: str) -> list[str]:
    """The last of several counts, as it does when they are parsed; of KEY=VALUE the one with that key."""
    key = value.partition("=")[0] + "=" if "=" in value else ""
    found, place = -1, 0
    while place < len(words):
        name, separator, given = words[place].partition("=")
        follows = "".join(words[place + 1 : place + 2])
        if name == option and (given if separator else follows).startswith(key):
            found = place
        place += 2 if words[place] == option else 1  # what follows is its value, whatever it looks like
    if found >= 0 and words[found] == option:
        return [*words[: found + 1], value, *words[found + 2 :]]
    if found >= 0:
        return [*words[:found], f"{option}={value}", *words[found + 1 :]]
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], option, value, *words[end:]]


def _spelled(words: Sequence[str]) -> str:
    confirms = _YES if any(word in _DELETING for word in words[:2]) else ()
    return shlex.join(["localk8s", *(word for word in words if word not in confirms)])
