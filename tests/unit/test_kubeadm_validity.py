"""Certificates and the clock: what is refused, what is renewed, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_kubeadm_machines import Recorder

from localk8s.kubeadm import validity
from localk8s.model.errors import CommandError, PrerequisiteError, WrongStateError
from localk8s.model.node import Completed

AUTHORITY = """-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUVsH4L8Az6fYAL4FtIVm/4lLyhuYwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKa3ViZXJuZXRlczAeFw0yNjExMjQwMzA2NTlaFw0zNjExMjEw
MzA2NTlaMBUxEzARBgNVBAMMCmt1YmVybmV0ZXMwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQJv0m8hOBPvEts0/UjXNj3BbOYRmdbb0iGmSsvsfOCGJCDULF9onwx
enawsoLN6Wy+hQWg7JvboPy+KnuTq5cJo1MwUTAdBgNVHQ4EFgQUkehP7ik7pwN9
IQyDTTsTV3MG2M0wHwYDVR0jBBgwFoAUkehP7ik7pwN9IQyDTTsTV3MG2M0wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAwqMvFnEDmz/gXcpz9+tT
b1X+wF7cHrzVbRCkeOREzSMCIQDQrbHdC2yD8JNqubug7oXxZMKdgItVr2dPxFvD
fRCGUw==
-----END CERTIFICATE-----
"""
"""Valid from 2026-11-24 for ten years; its key is gone."""
PRINTED = """CERTIFICATE                EXPIRES                  RESIDUAL TIME   CERTIFICATE AUTHORITY   EXTERNALLY MANAGED
admin.conf                 Nov 24, 2027 03:04 UTC   364d                                    no
apiserver                  Nov 24, 2027 03:04 UTC   364d            ca                      no
!MISSING! super-admin.conf
scheduler.conf             Nov 02, 2027 03:04 UTC   342d                                    no

CERTIFICATE AUTHORITY   EXPIRES                  RESIDUAL TIME   EXTERNALLY MANAGED
ca                      Nov 21, 2036 03:04 UTC   9y              no
"""
CHECK = "kubeadm certs check-expiration"


def test_a_clock_within_the_authority_s_life_is_fine() -> None:
    validity.check_clock(AUTHORITY, "t", datetime(2030, 1, 1, tzinfo=UTC))


def test_a_clock_before_it_is_said_with_both_instants() -> None:
    with pytest.raises(PrerequisiteError, match=r"says 2026-11-01 07:30 UTC, but .* only begin at 2026-11-24") as error:
        validity.check_clock(AUTHORITY, "t", datetime(2026, 11, 1, 7, 30, tzinfo=UTC))
    assert "localk8s start -c t" in error.value.hint


def test_a_clock_after_it_leaves_a_new_cluster_only() -> None:
    with pytest.raises(WrongStateError, match="ended at 2036-11-2") as error:
        validity.check_clock(AUTHORITY, "t", datetime(2037, 1, 1, tzinfo=UTC))
    assert "localk8s delete -c t && localk8s start -c t" in error.value.hint


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (datetime(2026, 11, 24, tzinfo=UTC), False),
        (datetime(2027, 10, 2, tzinfo=UTC), False),
        (datetime(2027, 10, 4, tzinfo=UTC), True),  # within thirty days of the first that ends
        (datetime(2029, 1, 1, tzinfo=UTC), True),
    ],
)
def test_the_first_that_ends_decides(now: datetime, due: bool) -> None:
    assert validity.ends_soon(Recorder(outputs={CHECK: PRINTED}), now) is due


class Failing(Recorder):
    """A node on which kubeadm fails."""

    def run(self, argv: Sequence[str], **more: object) -> Completed:  # type: ignore[override]
        raise CommandError(argv, 1)


def test_what_cannot_be_looked_at_does_not_hinder_a_start() -> None:
    assert not validity.ends_soon(Failing(), datetime(2029, 1, 1, tzinfo=UTC))
    for authority in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", AUTHORITY[:200]):
        validity.check_clock(authority, "t", datetime(2000, 1, 1, tzinfo=UTC))


def test_kubelets_get_what_the_control_plane_signs_and_no_copy_of_the_key_stays() -> None:
    made = "/etc/kubernetes/pki/localk8s-w.conf"
    first, worker = Recorder("t", outputs={made: "secret"}), Recorder("w")
    validity.renew_kubelets(first, [worker])
    assert any("--client-name system:node:w --org system:nodes" in line for line in first.lines)
    assert first.lines[-1] == f"rm -f {made}"
    assert worker.written == {"/etc/kubernetes/kubelet.conf": "secret"}
    assert worker.lines == ["sh -c rm -f /var/lib/kubelet/pki/kubelet-client-*.pem"]
    assert not any("secret" in line for line in (*first.lines, *worker.lines))
    assert not Path(made).exists()
