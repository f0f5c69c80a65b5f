"""Deaths, told."""

from __future__ import annotations

import signal

import pytest

from codehearth.engines.failure import Death, cause_of, failure_of
from codehearth.engines.movement import Movement
from codehearth.errors import EngineFailed, OutOfMemory

LLAMA_LOG = """\
0.00.012.531 E llama_model_load: error loading model: unknown model architecture: 'qwenX'
0.00.012.544 E llama_model_load_from_file_impl: failed to load model
0.00.012.547 E cmn  common_init_: failed to load model '/home/me/models/a.gguf'
worker: not serving: Failed to init server, please check the input params."""


def test_the_first_complaint_of_a_failed_start_is_the_cause() -> None:
    death = Death(was_asked_for=False, status=1, was_ready=False, log_tail=LLAMA_LOG)

    failure = failure_of("m", death)

    assert failure.message == (
        "The engine of 'm' exited with code 1: llama_model_load: error loading model: "
        "unknown model architecture: 'qwenX'"
    )
    assert failure.log_tail == LLAMA_LOG


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("failed to open '/home/me/my models/a.gguf' (no such file)", "'my models/a.gguf'"),
        ("error: cannot read ~/models/a.gguf", "cannot read a.gguf"),
        ("error: cannot read ../x/a.gguf", "cannot read a.gguf"),
        ("error: 12 tokens/s and application/json", "12 tokens/s and application/json"),
    ],
)
def test_a_cause_names_no_folder(line: str, cause: str) -> None:
    death = Death(was_asked_for=False, status=1, was_ready=False, log_tail=line)

    told = cause_of(death) or ""

    assert cause.rpartition("/")[2] in told
    assert "home" not in told


@pytest.mark.parametrize(
    ("library", "hint"),
    [("libgomp.so.1", "apt install libgomp1"), ("libcudart.so.13", "that holds libcudart.so.13")],
)
def test_a_library_that_the_system_lacks_is_named_with_its_cure(library: str, hint: str) -> None:
    """A minimal Debian has no libgomp: found by starting the container's image."""
    line = f"ImportError: {library}: cannot open shared object file: No such file or directory"
    death = Death(was_asked_for=False, status=1, was_ready=False, log_tail=line)

    assert hint in str(failure_of("starter", death).hint)


def test_complaints_about_requests_are_not_the_cause_of_a_later_death() -> None:
    log = "0.01.2 E srv    send_error: task id = 10, error: request (6000 tokens) exceeds …"
    crash = log + "\nterminate called after throwing an instance of 'std::logic_error'"

    assert cause_of(Death(was_asked_for=False, status=-6, log_tail=log)) is None
    assert "std::logic_error" in (
        cause_of(Death(was_asked_for=False, status=-6, log_tail=crash)) or ""
    )


def test_a_process_killed_from_outside_said_nothing_about_it() -> None:
    death = Death(was_asked_for=False, status=-signal.SIGKILL, was_ready=False, log_tail=LLAMA_LOG)

    assert failure_of("m", death).message == "The engine of 'm' was killed by SIGKILL."


@pytest.mark.parametrize(
    "log",
    [
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 9",
        "CUDA error: out of memory",
        "error: RuntimeError: DefaultCPUAllocator: can't allocate memory: 9 GB",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "MemoryError",
        "what():  Resource temporarily unavailable",
    ],
)
def test_an_allocation_that_failed_is_out_of_memory(log: str) -> None:
    death = Death(was_asked_for=False, status=-6, was_ready=False, log_tail=log)

    assert isinstance(failure_of("m", death), OutOfMemory)


def test_a_kill_while_the_kernel_ran_out_of_memory_is_out_of_memory() -> None:
    death = Death(was_asked_for=False, status=-9, was_out_of_memory=True)

    failure = failure_of("m", death)

    assert isinstance(failure, OutOfMemory)
    assert failure.hint is not None and "smaller context" in failure.hint


def test_a_crash_while_another_process_was_killed_for_memory_is_a_crash() -> None:
    death = Death(was_asked_for=False, status=-11, was_out_of_memory=True)

    assert type(failure_of("m", death)) is EngineFailed


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert Death(was_asked_for=False, status=-63).manner in (
        "was killed by signal 63",
        "was killed by SIGRTMAX",
    )


def test_log_lines_and_growing_memory_are_movement() -> None:
    start = Movement(log_bytes=0, memory_bytes=0, since=0.0)

    loaded = start.seen(log_bytes=0, memory_bytes=1 << 20, now=1.0)
    written = loaded.seen(log_bytes=10, memory_bytes=0, now=2.0)

    assert (loaded.since, written.since) == (1.0, 2.0)


def test_memory_that_comes_and_goes_is_no_movement() -> None:
    still = Movement(log_bytes=5, memory_bytes=1 << 20, since=1.0)

    assert still.seen(log_bytes=5, memory_bytes=(1 << 20) + 4096, now=9.0) == still
    assert still.seen(log_bytes=5, memory_bytes=1 << 19, now=9.0) == still
