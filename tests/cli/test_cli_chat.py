"""The conversation in the terminal, on a pseudo-terminal as a user has one."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.cli.command_line import HEARTH, Hearth

PROMPT = ">>> "


@dataclass
class Terminal:
    """A process on a terminal of its own. What it shows is kept without escape sequences."""

    process: subprocess.Popen[bytes]
    descriptor: int
    shown: str = ""
    _seen: int = 0

    def wait_for(self, text: str) -> str:
        """Waits until `text` is shown after what was waited for before; gives what came."""
        patient_until = time.monotonic() + 60
        while text not in self.shown[self._seen :]:
            left_s = patient_until - time.monotonic()
            assert left_s > 0, f"waited for {text!r} and saw {self.shown[self._seen :]!r}"
            if not select.select([self.descriptor], [], [], left_s)[0]:
                continue
            ended = not self._read()
            assert not ended, f"it ended before {text!r} was shown: {self.shown[self._seen :]!r}"
        end = self.shown.index(text, self._seen) + len(text)
        came, self._seen = self.shown[self._seen : end], end
        return came

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def say(self, line: str) -> str:
        """A line, and all that is shown until the next prompt."""
        self.type(line + "\n")
        return self.wait_for(PROMPT)

    def interrupt_until_end(self) -> int:
        """Ctrl-C again and again, as users do: Python's readline may lose one that is too quick."""
        patient_until = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < patient_until:
            self.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.5)
        return self.end()

    def end(self) -> int:
        """The exit code once it has ended by itself."""
        while select.select([self.descriptor], [], [], 60)[0] and self._read():
            pass
        return self.process.wait(60)

    def _read(self) -> bool:
        """Reads what is there; False once the terminal is closed."""
        try:
            read = os.read(self.descriptor, 65536)
        except OSError:
            read = b""
        self.shown += re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", read.decode("utf-8", "replace"))
        return bool(read)


@contextmanager
def terminal(hearth: Hearth, *arguments: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*HEARTH, *arguments],
        env={**hearth.environment, "TERM": "xterm-256color"},
        cwd=hearth.home,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: _take_terminal(),
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def chatting(house: Hearth, *arguments: str) -> Iterator[Terminal]:
    with terminal(house, "run", *arguments, "--max-tokens", "24") as screen:
        screen.wait_for(PROMPT)
        yield screen


def test_a_question_is_answered_and_ctrl_d_leaves(house: Hearth) -> None:
    with chatting(house) as screen:
        assert "Chatting with 'starter'" in screen.shown

        answer = screen.say("write a function that reverses a string")
        screen.type("\x04")

        assert len(answer.strip()) > 20
        assert screen.end() == 0


def test_the_conversation_is_remembered_and_can_be_cleared(house: Hearth) -> None:
    with chatting(house, "starter") as screen:
        screen.say("first question")
        assert "forgotten" in screen.say("/clear")
        screen.type("/exit\n")

        assert screen.end() == 0


def test_commands_are_explained_and_misspelt_ones_told(house: Hearth) -> None:
    with chatting(house) as screen:
        helped = screen.say("/help")
        unknown = screen.say("/modle x")

        assert all(name in helped for name in ("/model", "/system", "/clear", "/exit"))
        assert "There is no command /modle" in unknown


def test_models_are_listed_and_switched(house: Hearth) -> None:
    with chatting(house) as screen:
        listed = screen.say("/model")
        missing = screen.say("/model strater")
        switched = screen.say("/model starter")

        assert "* starter" in listed
        assert "did you mean starter" in missing
        assert "Now asking 'starter'" in switched


def test_a_system_prompt_is_set_and_shown(house: Hearth) -> None:
    with chatting(house, "--system", "be kind") as screen:
        assert "The model is told: be kind" in screen.say("/system")
        assert "The model is told: be brief" in screen.say("/system be brief")


def test_several_lines_are_one_question(house: Hearth) -> None:
    with chatting(house) as screen:
        screen.type('"""def f(x):\n')
        screen.wait_for("... ")
        screen.type('    return x"""\n')

        assert len(screen.wait_for(PROMPT).strip()) > 0


def test_a_path_that_begins_a_question_is_no_command(house: Hearth) -> None:
    with chatting(house) as screen:
        assert "There is no command" not in screen.say("/etc/passwd: what is it?")


def test_ctrl_c_stops_the_answer_and_not_the_conversation(house: Hearth) -> None:
    arguments = ("run", "starter", "--max-tokens", "4000", "--temperature", "2")
    with terminal(house, *arguments) as screen:
        screen.wait_for(PROMPT)
        screen.type("write a very long function\n")
        screen.wait_for("\r\n")
        os.killpg(screen.process.pid, signal.SIGINT)
        screen.wait_for(PROMPT)

        assert "/clear" in screen.say("/help")


def test_ctrl_c_twice_at_the_prompt_leaves_with_130(house: Hearth) -> None:
    with chatting(house) as screen:
        assert screen.interrupt_until_end() == 130
        assert "(once more, or Ctrl-D, leaves)" in screen.shown


def test_old_turns_are_dropped_when_the_context_is_full_and_it_is_said(hearth: Hearth) -> None:
    """With a context of 512 tokens a few long questions do not fit together."""
    variables = {"HEARTH_CONTEXT": "512", "HEARTH_SLOTS": "1"}
    hearth.variables.update(variables)
    with chatting(hearth) as screen:
        texts = [screen.say("tell me about " + "numbers and words " * 24) for _ in range(8)]

        assert "no longer fit" in "".join(texts)
        assert "error" not in "".join(texts)
        assert "maximum context length" in screen.say("word " * 700)


def test_questions_are_in_the_history_the_next_time(house: Hearth) -> None:
    with chatting(house) as screen:
        screen.say("/system remember-me")
        screen.type("\x04")
        screen.end()
    with chatting(house) as screen:
        screen.type("\x1b[A")
        screen.wait_for("/system remember-me")

    history = house.data / "chat-history"
    assert history.stat().st_mode & 0o077 == 0


def test_a_chat_without_a_server_starts_one_and_ends_it(hearth: Hearth) -> None:
    with chatting(hearth) as screen:
        assert "one is started for this command" in screen.shown
        screen.say("hello")
        screen.type("\x04")

        assert screen.end() == 0


def test_a_model_that_is_not_here_is_offered(house: Hearth) -> None:
    with terminal(house, "run", "qwen2.5-coder:0.5b", "hi") as screen:
        screen.wait_for("Fetch it? [Y/n]:")
        screen.type("n\n")

        assert screen.end() == 4


def test_ctrl_c_at_a_question_is_no_answer(house: Hearth) -> None:
    with terminal(house, "run", "qwen2.5-coder:0.5b", "hi") as screen:
        screen.wait_for("Fetch it? [Y/n]:")

        assert screen.interrupt_until_end() == 130
