"""How a message spells a localk8s command: every hint comes from here, so that it hits the right cluster as pasted.

Owns the spelling alone. Which command helps is decided where the error is raised.

The rule for ``-c``: a command about a cluster names it, except the default one, which a bare command means. Where
``LOCALK8S_CLUSTER`` makes a bare command mean another cluster, the default one is named too. No hint confirms a deletion:
``--yes`` is left to whoever deletes.
"""

from __future__ import annotations

import shlex

from localk8s.model.names import DEFAULT_CLUSTER

_DELETING = ("delete", "rm")
_YES = ("--yes", "-y")

_bare = DEFAULT_CLUSTER
"""The cluster that a command without ``-c`` means in the shell of this process."""


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
    return _spelled(verb, [*named, *arguments])


def host_command(verb: str, *arguments: str) -> str:
    """A localk8s command that is not about one cluster (``doctor``, ``list``, ``cache list``), to paste into a shell.

    Args:
        verb: the command as it is typed.
        arguments: options and arguments behind it; quoted for a shell. ``--yes`` is left out of a deletion.
    """
    return _spelled(verb, list(arguments))


def _spelled(verb: str, arguments: list[str]) -> str:
    words = verb.split()
    if words[-1] in _DELETING:
        arguments = [argument for argument in arguments if argument not in _YES]
    return shlex.join(["localk8s", *words, *arguments])
