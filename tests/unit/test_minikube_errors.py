"""minikube's reasons and exit codes as our errors: the right kind, one sentence, a hint that works."""

from __future__ import annotations

import json
import re

import minikube_recordings
import pytest
from minikube_recordings import recording

from localk8s.drivers.minikube.errors import Failure, find_failure, mask_tokens, summary, to_error, usable_advice
from localk8s.model import errors
from localk8s.model.node import Completed

FAILED = [name for name in minikube_recordings.names() if recording(name).returncode != 0]

KINDS: dict[str, tuple[type[errors.Localk8sError], str]] = {
    "no-profile/start-json-bad-profile-name": (errors.UsageError, "MK_USAGE"),
    "no-profile/start-json-bad-version": (errors.NotSupportedError, "K8S_NEW_UNSUPPORTED"),
    "no-profile/start-json-old-version": (errors.NotSupportedError, "K8S_OLD_UNSUPPORTED"),
    "no-profile/start-json-docker-absent": (errors.PrerequisiteError, "PROVIDER_DOCKER_NOT_RUNNING"),
    "no-profile/start-json-driver-unknown": (errors.NotSupportedError, "DRV_UNSUPPORTED_OS"),
    "no-profile/start-json-dryrun-lowmem": (errors.UsageError, "RSRC_INSUFFICIENT_REQ_MEMORY"),
    "no-profile/start-text-dryrun-lowmem": (errors.UsageError, "RSRC_INSUFFICIENT_REQ_MEMORY"),
    "no-profile/start-json-dryrun-ok": (errors.PrerequisiteError, "DRV_AS_ROOT"),
    "no-profile/start-json-no-driver": (errors.PrerequisiteError, "DRV_DOCKER_NOT_RUNNING"),
    "no-profile/start-json-ssh-refused": (errors.PrerequisiteError, "DRV_AS_ROOT"),
    "no-profile/start-unknown-flag": (errors.UsageError, ""),
    "no-profile/unknown-command": (errors.UsageError, ""),
    "no-profile/image-ls-missing": (errors.UsageError, "MK_USAGE"),
    "no-profile/ip-missing": (errors.NotFoundError, ""),
    "no-profile/kubectl-missing": (errors.CommandError, ""),
    "no-profile/stop-json-missing": (errors.NotFoundError, ""),
    "none-driver/start-json-kubeadm-failed": (errors.CommandError, "GUEST_START"),
    "none-driver/start-json-second-profile": (errors.NotSupportedError, "DRV_UNSUPPORTED_PROFILE"),
    "none-driver/drift-start-json": (errors.NotSupportedError, "DRV_UNSUPPORTED_MULTINODE"),
    "none-driver/running/node-add": (errors.CommandError, "GUEST_NODE_ADD"),
    "none-driver/running/docker-env": (errors.NotSupportedError, "ENV_DRIVER_CONFLICT"),
    "none-driver/running/ssh-true": (errors.UsageError, "MK_USAGE"),
    "none-driver/running/ip-n-missing": (errors.NotFoundError, "GUEST_NODE_RETRIEVE"),
    "none-driver/stopped/ip": (errors.WrongStateError, ""),
    "none-driver/apiserver-down/service-list": (errors.WrongStateError, ""),
    "ssh-driver/start-json-provision-failed": (errors.CommandError, "GUEST_PROVISION"),
    "ssh-driver/after-failed-start/ip": (errors.PrerequisiteError, "DRV_CP_ENDPOINT"),
    "ssh-driver/after-failed-start/stop-json": (errors.NotFoundError, "GUEST_SSH_CERT_NOT_FOUND"),
    "ssh-driver/after-failed-start/delete-json": (errors.CommandError, ""),
}


def error_of(name: str, cluster: str = "default", vm: str = "") -> errors.Localk8sError:
    done = recording(name)
    return to_error(find_failure(done), done, doing="do it", cluster=cluster, vm=vm)


@pytest.mark.parametrize("name", FAILED)
def test_every_recorded_failure_is_one_sentence_with_a_hint_without_holes(name: str) -> None:
    error = error_of(name)
    assert error.message.startswith("minikube could not do it (exit ")
    assert "\n" not in error.message and len(error.message) < 420
    assert "<no value>" not in error.message + error.hint
    assert "╭" not in error.message and "Traceback" not in error.message
    assert error.hint and "minikube delete" not in error.hint and "minikube start" not in error.hint
    assert not error.message.endswith("..") and error.message[-1] in ".!…"


@pytest.mark.parametrize("name", sorted(KINDS))
def test_trap_2_13_reasons_and_exit_codes_are_our_errors(name: str) -> None:
    error = error_of(name)
    kind, reason = KINDS[name]
    assert type(error) is kind
    assert not reason or f", {reason})" in error.message


def test_trap_2_13_an_error_event_with_another_exit_code_is_not_the_failure() -> None:
    done = recording("none-driver/drift-start-json")
    failure = find_failure(done)
    assert (failure.exit_code, failure.reason) == (51, "DRV_UNSUPPORTED_MULTINODE"), "not 106, not 29, which came before it"
    passed_over = Completed((), 80, recording("none-driver/clean/start-json").stdout, "")
    assert find_failure(passed_over).reason == "", "an error that --force overrode is not why it ended"


def test_a_kubeadm_log_becomes_a_sentence_about_the_network() -> None:
    done = recording("none-driver/start-json-kubeadm-failed")
    failure = find_failure(done, step="Preparing Kubernetes")
    error = to_error(failure, done, doing="start the cluster", cluster="default")
    assert error.message == (
        'minikube could not start the cluster at step "Preparing Kubernetes" (exit 80, GUEST_START): '
        "images could not be pulled: no network reaches their registry."
    )
    assert error.hint == "localk8s logs --run last"


def test_trap_2_4_a_hint_with_a_hole_is_never_shown() -> None:
    done = recording("ssh-driver/after-failed-start/ip")
    assert "minikube delete <no value>" in done.stderr
    assert find_failure(done).advice.startswith("Recreate the cluster")
    assert error_of("ssh-driver/after-failed-start/ip").hint == "localk8s logs --run last"


def test_a_message_with_a_hole_loses_the_command_that_holds_it() -> None:
    error = error_of("no-profile/start-json-docker-absent")
    assert "Cannot connect to the Docker daemon" in error.message
    assert "docker version" not in error.message
    assert error.hint == "Start the Docker service"


def test_minikubes_advice_becomes_our_command() -> None:
    error = error_of("ssh-driver/after-failed-start/stop-json", cluster="work")
    assert error.hint == "localk8s delete -c work"
    advice = "minikube is missing files. This can be fixed by running 'minikube delete'"
    assert usable_advice(advice, "work") == "minikube is missing files. This can be fixed by running 'localk8s delete -c work'"
    assert usable_advice('Run "minikube delete -p mk", then "minikube start -p mk".', "default") == (
        'Run "localk8s delete", then "localk8s start".'
    )
    assert usable_advice("Run minikube config set driver docker", "default") == ""
    assert usable_advice("{{.advice}}", "default") == "" == usable_advice(" ", "default")


@pytest.mark.parametrize(
    ("name", "vm", "hint"),
    [
        (
            "no-profile/start-json-old-version",
            "none",
            "localk8s start -c w --driver minikube --vm-driver none --minikube-arg --force",
        ),
        (
            "no-profile/start-json-ssh-refused",
            "ssh",
            "localk8s start -c w --driver minikube --vm-driver ssh --minikube-arg --force",
        ),
        ("no-profile/start-json-dryrun-lowmem", "", "localk8s start -c w --driver minikube --memory 2g"),
        ("ssh-driver/start-json-provision-failed", "ssh", "localk8s logs -c w --run last"),
    ],
)
def test_hints_are_command_lines_that_mend_it(name: str, vm: str, hint: str) -> None:
    assert error_of(name, cluster="w", vm=vm).hint == hint


def test_bootstrap_tokens_are_masked() -> None:
    done = recording("none-driver/running/node-add")
    assert "--token ng1eb6." in done.stderr
    error = error_of("none-driver/running/node-add")
    assert "ng1eb6" not in error.message + error.hint + error.details
    assert mask_tokens("kubeadm join --token abcdef.0123456789abcdef --x") == "kubeadm join --token *** --x"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (11, errors.InterruptedByUser),
        (14, errors.UsageError),
        (23, errors.PrerequisiteError),
        (26, errors.PrerequisiteError),
        (29, errors.PrerequisiteError),
        (37, errors.PrerequisiteError),
        (40, errors.ArtifactError),
        (42, errors.ArtifactError),
        (49, errors.ArtifactError),
        (55, errors.PrerequisiteError),
        (65, errors.PrerequisiteError),
        (70, errors.PrerequisiteError),
        (80, errors.CommandError),
        (81, errors.WrongStateError),
        (82, errors.WaitTimeoutError),
        (83, errors.WrongStateError),
        (85, errors.NotFoundError),
        (103, errors.WrongStateError),
        (105, errors.CommandError),
        (137, errors.CommandError),
        (-9, errors.CommandError),
    ],
)
def test_trap_2_13_every_range_of_exit_codes(code: int, kind: type[errors.Localk8sError]) -> None:
    done = Completed(("minikube", "start"), code, "", "")
    assert type(to_error(find_failure(done), done, doing="start", cluster="default")) is kind


def test_storage_that_is_full_is_said_so() -> None:
    line = json.dumps(
        {
            "specversion": "1.0",
            "type": "io.k8s.sigs.minikube.error",
            "data": {
                "advice": 'Try one or more of the following to free up space on the device:\n\n1. Run "docker system prune"',
                "exitcode": "26",
                "issues": "https://github.com/kubernetes/minikube/issues/9024",
                "message": "Docker is out of disk space! (/var is at 100% of capacity). Pass '--force' to skip this check.",
                "name": "RSRC_DOCKER_STORAGE",
                "url": "",
            },
        }
    )
    done = Completed(("minikube", "start"), 26, line, "")
    error = to_error(find_failure(done), done, doing="start the cluster", cluster="default")
    assert isinstance(error, errors.PrerequisiteError)
    assert "out of disk space" in error.message and error.hint.startswith("Try one or more of the following")


def test_trap_6_14_files_that_root_left_behind_are_said_so() -> None:
    text = (
        "\nX Exiting due to HOST_JUJU_LOCK_PERMISSION: Failed to save config: failed to acquire lock: open /tmp/juju-mk1:"
        ' permission denied\n* Suggestion: \n\n    Run "sudo sysctl fs.protected_regular=0", or try a driver which does not'
        " require root\n"
    )
    done = Completed(("minikube", "start"), 37, "", text)
    error = to_error(find_failure(done), done, doing="start the cluster", cluster="default")
    assert isinstance(error, errors.PrerequisiteError)
    assert (
        "(exit 37, HOST_JUJU_LOCK_PERMISSION): Failed to save config" in error.message and "permission denied" in error.message
    )
    assert error.hint.startswith('Run "sudo sysctl fs.protected_regular=0"')


def test_a_panic_is_named_and_its_trace_is_not() -> None:
    done = recording("ssh-driver/after-failed-start/status-l-json")
    error = error_of("ssh-driver/after-failed-start/status-l-json")
    assert "goroutine" in done.stderr and "goroutine" not in error.message
    assert "index out of range" in error.message


@pytest.mark.parametrize(
    "message", ["", "x" * 5000, "line\n" * 500, "a <no value> b", '"q <no value>" exit status 1: because', "\n"]
)
def test_a_summary_is_always_one_bearable_line(message: str) -> None:
    text = summary(message)
    assert "\n" not in text and len(text) <= 240 and "<no value>" not in text


def test_a_failure_that_says_nothing_still_has_its_exit_code() -> None:
    done = Completed(("minikube", "start"), 99, "", "")
    assert find_failure(done) == Failure(99, "", "")
    assert to_error(find_failure(done), done, doing="start", cluster="default").message == "minikube could not start (exit 99)."


@pytest.mark.parametrize(("code", "name"), [(-9, "SIGKILL"), (-15, "SIGTERM"), (-11, "SIGSEGV"), (-200, "signal 200")])
def test_a_killed_minikube_is_not_explained_by_its_last_remark(code: int, name: str) -> None:
    remark = "To pull new external images, you may need to configure a proxy"
    line = json.dumps({"specversion": "1.0", "type": "io.k8s.sigs.minikube.error", "data": {"message": remark}})
    done = Completed(("minikube", "start"), code, line, remark)
    error = to_error(find_failure(done, step="Preparing Kubernetes"), done, doing="start the cluster", cluster="w")
    assert error.message == f'minikube could not start the cluster at step "Preparing Kubernetes": it was killed ({name}).'
    assert error.hint == "localk8s logs -c w --run last" and type(error) is errors.CommandError


def _died(code: int, reason: str, message: str, advice: str = "") -> Completed:
    data = {"advice": advice, "exitcode": str(code), "message": message, "name": reason}
    line = json.dumps({"specversion": "1.0", "type": "io.k8s.sigs.minikube.error", "data": data})
    return Completed(("minikube", "start"), code, line, "")


def test_a_port_in_use_is_this_hosts_trouble_and_the_hint_shows_who_has_it() -> None:
    advice = "kubeadm detected a TCP port conflict with another process. Run lsof -p<port> to find the process and kill it"
    done = _died(81, "GUEST_PORT_IN_USE", "wait: [preflight] [ERROR Port-10250]: Port 10250 is in use", advice)
    error = to_error(find_failure(done), done, doing="start the cluster", cluster="default")
    assert isinstance(error, errors.PrerequisiteError) and error.hint == "sudo ss -ltnp 'sport = :10250'"


@pytest.mark.parametrize("reason", ["GUEST_START", "GUEST_PROVISION", "HOST_PATH_STAT"])
def test_a_full_disk_is_this_hosts_trouble_whatever_minikube_calls_it(reason: str) -> None:
    done = _died(80, reason, "copy: write /var/lib/minikube/binaries/v1.36.3/kubelet: no space left on device")
    error = to_error(find_failure(done), done, doing="start the cluster", cluster="default")
    assert isinstance(error, errors.PrerequisiteError) and error.hint == "df -h"


@pytest.mark.parametrize("name", FAILED)
def test_every_hint_names_its_cluster_and_none_confirms_a_deletion(name: str) -> None:
    hint = error_of(name, cluster="two", vm="kvm2").hint
    assert "--yes" not in hint
    for command in re.findall(r"localk8s \w+[^'\"]*", hint):
        assert command.startswith("localk8s setup") or " -c two" in command, hint
