"""Arguments that fit the etcd that really runs: kubeadm writes them for the one that it was released with.

An etcd that does not know an argument prints its usage and exits. One that cannot be asked how far its watches are
(before 3.5.13) has to say so every second by itself: from 1.34 on the API server waits 3 s for that before a watch
begins, and ends it with "Too large resource version" otherwise. Knows nodes, not drivers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from localk8s.model.errors import CommandError
from localk8s.model.node import Node

ETCD_MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"

_PROGRESS = "watch-progress-notify-interval"
_FIT = rf"""
file={ETCD_MANIFEST} fitted=/etc/kubernetes/localk8s-etcd
[ -s $file ] || exit 0
grep -q -e InitialCorruptCheck -e {_PROGRESS} -e initial-corrupt-check -e 'path: /livez' -e 'path: /readyz' $file || exit 0
[ "$(cksum <$file)" != "$(cat $fitted 2>/dev/null)" ] || exit 0

image=$(sed -n 's/^ *image: *//p' $file | head -n 1)
place=$(mktemp -d)
if ctr -n k8s.io images mount "$image" "$place" >/dev/null 2>&1; then
  knows=$(chroot "$place" /usr/local/bin/etcd --help 2>&1 || true)
  version=$(chroot "$place" /usr/local/bin/etcd --version 2>&1 | sed -n 's/^etcd Version: *//p')
  ctr -n k8s.io images unmount --rm "$place" >/dev/null
else # it is still to come from a registry, where its tag tells the truth
  version=${{image##*:}} knows='  --experimental-{_PROGRESS}  --experimental-initial-corrupt-check '
  case $version in 3.[0-5].*) ;; *) knows='  --{_PROGRESS}  --feature-gates ' ;; esac
fi
rmdir "$place"
knows() {{ case $knows in *"  --$1 "*) ;; *) return 1 ;; esac; }}
at_least() {{ [ "$(printf '%s\n' "$1" "$version" | sort -V | head -n 1)" = "$1" ]; }}

interval=1s more=
if at_least 3.5.13; then interval=5s; fi
if knows {_PROGRESS}; then more="--{_PROGRESS}=$interval"
elif knows experimental-{_PROGRESS}; then more="--experimental-{_PROGRESS}=$interval"; fi
if knows feature-gates; then more="$more --feature-gates=InitialCorruptCheck=true"
elif knows experimental-initial-corrupt-check; then more="$more --experimental-initial-corrupt-check=true"; fi
health='s#path: /\(livez\|readyz\).*#path: /health#'
if at_least 3.5.11; then health=; fi

new=/etc/kubernetes/etcd.yaml.new
sed -e '/InitialCorruptCheck/d' -e '/{_PROGRESS}/d' -e '/initial-corrupt-check/d' -e "$health" $file >$new
for argument in $more; do
  sed -i "s/^\( *\)- etcd$/&\n\1- $argument/" $new
done
cksum <$new >$fitted
cmp -s $new $file || mv -f $new $file
rm -f $new
"""
"""What is taken away is optional for every etcd, and ``/health`` is answered by all of them. The manifest is written
elsewhere and moved: a kubelet takes everything that appears beside it for one more."""


def fit_etcd(node: Node) -> None:
    """Give etcd's manifest the arguments that the node's etcd knows. No effect where nothing is to be done."""
    node.run(["sh", "-c", _FIT])


@contextmanager
def fitting_etcd(node: Node) -> Iterator[None]:
    """Keep etcd's manifest fitting during the block (``kubeadm join`` writes it and waits for etcd in one go)."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(0.5):
            try:
                fit_etcd(node)
            except CommandError:
                continue  # the machine is busy; the next look is half a second away

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def progress_argument(program: str) -> str:
    """A shell line that sets ``progress`` to the argument by which ``program`` says every second how far its watches are."""
    knows = rf"s/^ *\(--\(experimental-\)\{{0,1\}}{_PROGRESS}\) .*/\1=1s/p"
    return f"progress=$({program} --help 2>&1 | sed -n '{knows}' | head -n 1)"
