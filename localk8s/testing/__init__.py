"""Floor 7: what users need to test their own code against localk8s. Public: fakes that keep the contracts."""

from localk8s.testing.driver import FakeDriver, build
from localk8s.testing.node import FakeNode
from localk8s.testing.report import RecordedStep, RecordingReporter

__all__ = ["FakeDriver", "FakeNode", "RecordedStep", "RecordingReporter", "build"]
