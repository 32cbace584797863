"""What ``image load`` believes: only what each node shows afterwards. Nodes that are off are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest
from test_helpers_images import docker_archive, layer

from localk8s.helpers import images_store
from localk8s.helpers.images import Images
from localk8s.helpers.images_archive import ImageArchive, open_archive
from localk8s.model.errors import NotFoundError, WaitTimeoutError, WrongStateError
from localk8s.model.node import Completed, Input
from localk8s.testing import FakeNode, RecordingReporter

NAME, OTHER = "docker.io/library/app:1", f"sha256:{'0' * 64}"


class Does(Enum):
    """What a node makes of an image that it was sent; each time it says that it took it."""

    TAKES = 0
    DROPS = 1
    KEEPS_AN_OLD_ONE = 2
    HIDES_FROM_THE_KUBELET = 3


@dataclass
class CtrNode(FakeNode):
    """A node whose containerd answers for one archive."""

    archive: ImageArchive | None = None
    does: Does = Does.TAKES
    there: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        assert argv[0] == "ctr"
        words, stdout = tuple(argv[1:]), ""
        if words == ("images", "import", "-"):
            assert input is not None and not isinstance(input, bytes | str) and list(input)
            self._take()
        elif words == ("images", "ls"):
            stdout = "".join(f"{name} type {digest} 5.0 MiB linux/amd64 -\n" for name, digest in self.there.items())
        else:
            assert words[:2] in (("content", "ls"), ("images", "label"), ("content", "get")), words
        return Completed(tuple(argv), 0, stdout, "")

    def _take(self) -> None:
        assert self.archive is not None
        image = self.archive.images[0]
        if self.does is not Does.DROPS:
            self.there[NAME] = OTHER if self.does is Does.KEEPS_AN_OLD_ONE else image.manifest.digest
        if self.does is not Does.HIDES_FROM_THE_KUBELET:
            self.there[image.id] = image.manifest.digest


@pytest.fixture
def archive(tmp_path: Path) -> ImageArchive:
    return open_archive(docker_archive(tmp_path / "a.tar", [layer(b"one")], ["app:1"]), "amd64")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_store, "_KNOWN", 0.3)


def nodes(archive: ImageArchive, *does: Does) -> list[CtrNode]:
    return [CtrNode(f"n{number}", archive=archive, does=each) for number, each in enumerate(does, 1)]


def test_what_every_node_shows_is_loaded(archive: ImageArchive) -> None:
    (loaded,) = Images(nodes(archive, Does.TAKES, Does.TAKES), ("ctr",), "amd64", RecordingReporter()).load(archive)
    assert (loaded.name, loaded.id, loaded.nodes) == (NAME, archive.images[0].id, ("n1", "n2"))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("does", "why"),
    [
        (Does.DROPS, "is not there, or is another"),
        (Does.KEEPS_AN_OLD_ONE, "is not there, or is another"),
        (Does.HIDES_FROM_THE_KUBELET, "has not noticed"),
    ],
)
def test_a_node_that_does_not_show_it_afterwards_is_an_error(archive: ImageArchive, place: int, does: Does, why: str) -> None:
    all_ = [Does.TAKES] * 3
    all_[place] = does
    with pytest.raises(WaitTimeoutError, match=why) as caught:
        Images(nodes(archive, *all_), ("ctr",), "amd64", RecordingReporter()).load(archive)
    assert f"n{place + 1}" in caught.value.message


def test_nodes_that_are_off_are_left_out_with_a_warning(archive: ImageArchive) -> None:
    report = RecordingReporter()
    images = Images(nodes(archive, Does.TAKES), ("ctr",), "amd64", report, off=("n2", "n3"))
    images.load(archive)
    assert [each.nodes for each in images.all() if each.name == NAME] == [("n1",)]
    assert set(report.warnings) == {"n2 and n3 are off and were left out."}
    with pytest.raises(NotFoundError):
        images.load(archive, ["n4"])


def test_a_node_that_is_off_and_asked_for_by_name_is_refused_with_what_turns_it_on(archive: ImageArchive) -> None:
    images = Images(nodes(archive, Does.TAKES), ("ctr",), "amd64", RecordingReporter(), cluster="c", off=("n2",))
    with pytest.raises(WrongStateError, match=r"Node n2 is off\.") as caught:
        images.load(archive, ["n2"])
    assert caught.value.hint == "localk8s node start -c c n2"
