"""One child: started once, watched, ended for certain, and told about truthfully."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path

import psutil
import pytest
from engines.children import ask, child, fake_command, is_gone, post, until, wait_gone

from codehearth.engines.base import Command
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.failure import Death
from codehearth.engines.process import EngineProcess, Patience
from codehearth.errors import EngineFailed, EngineMissing, OutOfMemory

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_child_becomes_ready_and_answers_to_its_key_only() -> None:
    async def story() -> None:
        async with child("--tokens", "3", "--text", "a b c") as process:
            endpoint = await process.ensure_ready()

            answer = await post(endpoint, "/v1/completions", {"prompt": "x"})
            refused = await ask(endpoint, "/v1/models", headers="Authorization: Bearer no\r\n")

            assert process.state == "ready"
            assert answer[1]["choices"][0]["text"] == "a b c "
            assert refused[0] == 401

    asyncio.run(story())


def test_ten_callers_share_one_start() -> None:
    starts = []

    def command(endpoint: Endpoint) -> Command:
        starts.append(endpoint)
        return fake_command()(endpoint)

    async def story() -> None:
        process = EngineProcess("model", command)

        endpoints = await asyncio.gather(*(process.ensure_ready() for _ in range(10)))

        assert len(starts) == 1
        assert set(endpoints) == set(starts)
        await process.stop()

    asyncio.run(story())


def test_a_caller_that_leaves_does_not_cancel_the_start() -> None:
    async def story() -> None:
        async with child("--ready-after-s", "0.3") as process:
            impatient = asyncio.create_task(process.ensure_ready())
            patient = asyncio.create_task(process.ensure_ready())
            await asyncio.sleep(0)
            impatient.cancel()

            await patient

            assert impatient.cancelled()
            assert process.state == "ready"

    asyncio.run(story())


def test_a_start_goes_on_when_all_callers_left() -> None:
    async def story() -> None:
        async with child("--ready-after-s", "0.3") as process:
            only = asyncio.create_task(process.ensure_ready())
            await asyncio.sleep(0)
            only.cancel()

            await process.ensure_ready()

            assert process.state == "ready"

    asyncio.run(story())


def test_a_child_that_dies_at_the_start_is_told_with_its_last_words() -> None:
    async def story() -> None:
        words = "error loading model: unknown architecture 'x' in /home/me/secret folder/m.gguf"
        async with child("--do", "die-at-start", "--last-words", words) as process:
            with pytest.raises(EngineFailed) as told:
                await process.ensure_ready()
            with pytest.raises(EngineFailed):
                await process.ensure_ready()

            assert "exited with code 3: error loading model" in told.value.message
            assert "/home" not in told.value.message
            assert words in told.value.log_tail
            assert process.state == "dead"

    asyncio.run(story())


def test_a_child_that_cannot_be_started_is_told() -> None:
    async def story() -> None:
        process = EngineProcess("model", lambda _: Command(("/no/such/program",)))

        with pytest.raises(
            EngineFailed, match=r"cannot start /no/such/program|exited with code 127"
        ):
            await process.ensure_ready()

    asyncio.run(story())


def test_a_command_that_refuses_is_told_to_all_callers() -> None:
    def command(_: Endpoint) -> Command:
        raise EngineMissing("It is not installed.", hint="install it")

    async def story() -> None:
        process = EngineProcess("model", command)

        results = await asyncio.gather(
            process.ensure_ready(), process.ensure_ready(), return_exceptions=True
        )

        assert [type(result) for result in results] == [EngineMissing, EngineMissing]

    asyncio.run(story())


@pytest.mark.parametrize("misbehaviour", ["never-ready", "deaf", "hang"])
def test_a_start_that_does_not_move_is_given_up(misbehaviour: str) -> None:
    async def story() -> None:
        patience = Patience(start_s=0.2)
        async with child("--do", misbehaviour, patience=patience) as process:
            with pytest.raises(EngineFailed, match="no progress for 0 s"):
                await process.ensure_ready()

            assert process.pid is not None
            assert is_gone(process.pid)

    asyncio.run(story())


def test_stopping_ends_the_child_and_leaves_nothing() -> None:
    async def story() -> None:
        deaths: list[Death] = []
        async with child(on_death=deaths.append) as process:
            endpoint = await process.ensure_ready()
            assert endpoint.socket_path is not None and process.pid is not None

            await asyncio.gather(process.stop(), process.stop())
            await process.stop()

            assert process.state == "dead"
            assert not endpoint.socket_path.parent.exists()
            assert is_gone(process.pid) and not psutil.pid_exists(process.pid)
            assert [death.was_asked_for for death in deaths] == [True]
            assert process.resident_bytes() == 0
            assert not await process.is_alive(timeout_s=1)

    asyncio.run(story())


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    async def story() -> None:
        async with child("--do", "ignore-sigterm") as process:
            await process.ensure_ready()

            await process.stop(grace_s=0.1)

            assert process.death is not None
            assert process.death.status == -signal.SIGKILL
            assert process.death.was_asked_for

    asyncio.run(story())


def test_a_second_stop_may_cut_the_grace_short() -> None:
    async def story() -> None:
        async with child("--do", "ignore-sigterm") as process:
            await process.ensure_ready()
            slow = asyncio.create_task(process.stop(grace_s=3600))
            await until(lambda: process.state == "stopping")

            await process.stop(grace_s=0)

            await slow

    asyncio.run(story())


def test_stopping_while_it_starts_ends_the_start() -> None:
    async def story() -> None:
        async with child("--do", "never-ready") as process:
            caller = asyncio.create_task(process.ensure_ready())
            await until(lambda: process.pid is not None)

            await process.stop()

            with pytest.raises(EngineFailed, match="was stopped"):
                await caller

    asyncio.run(story())


def test_what_was_stopped_before_its_start_never_starts() -> None:
    async def story() -> None:
        process = EngineProcess("model", fake_command())

        await process.stop()

        with pytest.raises(EngineFailed, match="was stopped"):
            await process.ensure_ready()
        assert process.pid is None

    asyncio.run(story())


def test_a_child_that_is_killed_is_noticed() -> None:
    async def story() -> None:
        deaths: list[Death] = []
        async with child(on_death=deaths.append) as process:
            await process.ensure_ready()
            assert process.pid is not None

            os.kill(process.pid, signal.SIGKILL)
            await process.wait_dead()

            assert [(death.status, death.was_asked_for) for death in deaths] == [(-9, False)]
            with pytest.raises(EngineFailed, match=r"was killed by SIGKILL\.") as told:
                await process.ensure_ready()
            assert not isinstance(told.value, OutOfMemory)

    asyncio.run(story())


def test_a_hung_child_is_not_alive_and_can_be_killed() -> None:
    async def story() -> None:
        async with child() as process:
            await process.ensure_ready()
            assert process.pid is not None
            assert await process.is_alive(timeout_s=30)

            os.kill(process.pid, signal.SIGSTOP)

            assert not await process.is_alive(timeout_s=0.1)
            await process.kill()
            assert is_gone(process.pid)

    asyncio.run(story())


def test_what_a_child_started_ends_with_it() -> None:
    async def story() -> None:
        async with child("--do", "spawn") as process:
            await process.ensure_ready()
            assert process.pid is not None
            grandchild = int(process.log_tail().split("grandchild ")[1].split()[0])

            os.kill(process.pid, signal.SIGKILL)
            await process.wait_dead()

            await asyncio.to_thread(wait_gone, grandchild)
            assert is_gone(grandchild)

    asyncio.run(story())


def test_memory_is_measured_with_all_that_the_child_holds() -> None:
    async def story() -> None:
        async with child("--hold-mib", "64") as process:
            await process.ensure_ready()

            assert 64 << 20 < process.private_bytes() < 128 << 20
            assert 64 << 20 < process.resident_bytes() < 128 << 20

    asyncio.run(story())


def test_a_torn_down_loop_leaves_no_child() -> None:
    started: list[int] = []

    async def story() -> None:
        process = EngineProcess("model", fake_command("--do", "ignore-sigterm"))
        await process.ensure_ready()
        assert process.pid is not None
        started.append(process.pid)

    asyncio.run(story())

    assert is_gone(started[0])


@linux_only
def test_a_child_gets_the_environment_of_its_command_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    async def story() -> None:
        async with child() as process:
            endpoint = await process.ensure_ready()
            environment = Path(f"/proc/{process.pid}/environ").read_text()
            arguments = Path(f"/proc/{process.pid}/cmdline").read_text()

            names = {pair.partition("=")[0] for pair in environment.split("\0") if pair}
            assert names <= {"PATH", "FAKE_ENGINE_KEY", "LC_CTYPE"}
            assert "hf_secret" not in environment
            assert endpoint.api_key not in arguments

    asyncio.run(story())


@linux_only
def test_a_child_leaves_no_core_dump_and_goes_first_when_memory_runs_out() -> None:
    async def story() -> None:
        async with child("--do", "core") as process:
            await process.ensure_ready()

            assert "core 0 oom 500" in process.log_tail()

    asyncio.run(story())


def test_socket_and_key_are_new_at_each_start_and_closed_to_others() -> None:
    async def story() -> None:
        async with child() as one, child() as other:
            first, second = await one.ensure_ready(), await other.ensure_ready()

            assert first.socket_path is not None and second.socket_path is not None
            assert first.socket_path != second.socket_path
            assert first.api_key != second.api_key and len(first.api_key) >= 32
            assert first.api_key not in repr(first)
            assert stat.S_IMODE(first.socket_path.parent.stat().st_mode) == 0o700

    asyncio.run(story())


@linux_only
def test_many_lives_leave_no_descriptor_open() -> None:
    async def life(flags: tuple[str, ...]) -> None:
        async with child(*flags) as process:
            await asyncio.gather(process.ensure_ready(), return_exceptions=True)

    async def story() -> None:
        await life(())
        before = len(list(Path("/proc/self/fd").iterdir()))

        for flags in [(), ("--do", "die-at-start"), ("--do", "spawn"), ()]:
            await life(flags)

        assert len(list(Path("/proc/self/fd").iterdir())) <= before

    asyncio.run(story())


def test_a_full_disk_does_not_stop_serving(tmp_path: Path) -> None:
    full = Path("/dev/full") if Path("/dev/full").exists() else tmp_path / "no" / "right"

    async def story() -> None:
        async with child(log_path=full) as process:
            endpoint = await process.ensure_ready()

            answer = await post(endpoint, "/v1/completions", {"prompt": "x"})

            assert answer[0] == 200
            assert "listening" in process.log_tail()

    asyncio.run(story())


def test_the_log_is_kept_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "model.log"

    async def story() -> None:
        async with child(log_path=path) as process:
            await process.ensure_ready()

    asyncio.run(story())

    assert "fake engine: listening" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("misbehaviour", ["", "ignore-sigterm", "spawn", "die-at-start"])
def test_it_all_holds_on_uvloop_too(misbehaviour: str) -> None:
    """The server runs on uvloop, which starts and reaps children by code of its own."""
    uvloop = pytest.importorskip("uvloop")

    async def story() -> None:
        async with child("--do", misbehaviour) as process:
            results = await asyncio.gather(process.ensure_ready(), return_exceptions=True)
            assert isinstance(results[0], EngineFailed) == (misbehaviour == "die-at-start")
            assert process.pid is not None

            await process.stop(grace_s=0.2)

            assert is_gone(process.pid)
            assert process.log_tail()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())
