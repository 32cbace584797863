"""The one waiting loop: what ends a wait, and what does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

import pytest

from localk8s.drivers.native.machine import NativeNode
from localk8s.drivers.native.recipe import _insist, import_images
from localk8s.kube.endpoint import Endpoint
from localk8s.kube.transport import no_answer
from localk8s.model.errors import CommandError, KubernetesError, Localk8sError, WaitTimeoutError
from localk8s.model.node import Completed
from localk8s.system.process import HostRunner
from localk8s.system.wait import Pending, wait_until


def out_of_time() -> Localk8sError:
    """What a real command that runs out of time comes to."""
    with pytest.raises(CommandError) as caught:
        HostRunner().run([sys.executable, "-c", "import time; time.sleep(30)"], timeout=0.1)
    return caught.value


def silence(exc: OSError) -> Localk8sError:
    return no_answer(Endpoint("127.0.0.1", 1), exc, 1)


def answers_after(error: Localk8sError, times: int = 2) -> Callable[[], bool]:
    """A look that fails with ``error`` and then sees it."""
    left = [error] * times

    def look() -> bool:
        if left:
            raise left.pop()
        return True

    return look


@pytest.mark.parametrize("error", [out_of_time(), silence(TimeoutError()), silence(ConnectionRefusedError())])
def test_a_look_without_an_answer_never_ends_a_wait(error: Localk8sError) -> None:
    assert wait_until(answers_after(error), what="it", timeout=5, interval=0)
    with pytest.raises(WaitTimeoutError) as caught:
        wait_until(answers_after(error, 10**6), what="it", timeout=0.05, interval=0.01)
    assert error.message.rstrip(".") in caught.value.message


@pytest.mark.parametrize(
    "error", [CommandError(["x"], 1), CommandError(["x"], None, message="It is full."), Localk8sError("x")]
)
def test_an_answer_that_is_an_error_ends_it(error: Localk8sError) -> None:
    with pytest.raises(type(error)):
        wait_until(answers_after(error), what="it", timeout=5, interval=0)


def test_what_is_pending_is_said() -> None:
    def look() -> bool:
        raise Pending("the roof is missing")

    with pytest.raises(WaitTimeoutError, match="for the house: the roof is missing"):
        wait_until(look, what="the house", timeout=0, interval=0)


def test_a_slow_containerd_does_not_end_the_import_of_images() -> None:
    slow = [out_of_time()]

    class Node:
        name = "n"

        def run(self, argv: list[str], **options: object) -> Completed:
            if slow:
                raise slow.pop()
            return Completed(tuple(argv), 0, "", "")

    import_images(cast(NativeNode, Node()), ())
    assert not slow


def test_a_silent_api_is_asked_again() -> None:
    _insist(answers_after(silence(TimeoutError())), "it to be accepted", timeout=5)
    with pytest.raises(KubernetesError):
        _insist(answers_after(KubernetesError("no", status=422)), "it to be accepted", timeout=5)
