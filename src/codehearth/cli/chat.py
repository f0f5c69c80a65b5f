"""The conversation in the terminal that `hearth run` holds when there is no prompt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codehearth.cli.answering import Questions, cut_note, shown_note
from codehearth.cli.history import Conversation, fitted
from codehearth.cli.line_editor import LineEditor
from codehearth.cli.output import print_data, say, tell_error
from codehearth.errors import (
    ContextLengthExceeded,
    HearthError,
    ModelNotFound,
    ServerUnreachable,
    Unauthorized,
)

if TYPE_CHECKING:
    from codehearth.client import Usage
    from codehearth.settings import Settings

COMMANDS = {
    "/help": "show this",
    "/model [NAME]": "ask another model from now on, or list them",
    "/system [TEXT]": "tell the model something before everything else, or show what it is told",
    "/clear": "forget the conversation",
    "/exit": "leave (so does Ctrl-D)",
}
_HOW = (
    'Begin with """ to write several lines and end with """. Ctrl-C stops an answer. '
    "A line that begins with a blank is sent as it is."
)
_MAX_DROPS = 200


def converse(questions: Questions, settings: Settings) -> None:
    """Asks and answers until the user leaves."""
    say(f"Chatting with '{questions.model}'. /help shows the commands, Ctrl-D leaves.")
    words = [command.split()[0] for command in COMMANDS]
    with LineEditor(settings.data / "chat-history", words=words) as editor:
        chat = Chat(questions, Conversation(system=questions.system))
        for line in editor.lines():
            if line in ("/exit", "/quit", "/bye"):
                return
            chat.take(line)


@dataclass
class Chat:
    """A conversation and whom it is held with; both change while it lasts."""

    questions: Questions
    conversation: Conversation
    _context_tokens: dict[str, int] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """A command or a question. Errors are told; those that would meet every question end it."""
        try:
            if line.startswith("/") and line.split()[0].removeprefix("/").isalpha():
                self._obey(line)
            elif line.strip():
                self._ask(line.strip())
        except KeyboardInterrupt:  # before the first word of an answer, or during a command
            say(" (stopped)")
        except (ServerUnreachable, Unauthorized):
            raise
        except HearthError as error:
            tell_error(error.message, error.hint)

    def _obey(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        match command:
            case "/help":
                for name, what in COMMANDS.items():
                    say(f"  {name:<15} {what}")
                say(_HOW)
            case "/model":
                self._switch(rest.strip())
            case "/system":
                self._instruct(rest.strip())
            case "/clear":
                self.conversation = dataclasses.replace(self.conversation, turns=())
                say("The conversation is forgotten.")
            case _:
                say(f"There is no command {command}; /help shows them.")

    def _switch(self, name: str) -> None:
        client = self.questions.client
        if not name:
            for card in client.models():
                say(f"{'*' if card.name == self.questions.model else ' '} {card.name}")
            return
        try:
            found = client.model(name).name
        except ModelNotFound as error:
            tell_error(error.message, error.hint)
            return
        self.questions = dataclasses.replace(self.questions, model=found)
        say(f"Now asking '{found}'; the conversation goes on.")

    def _instruct(self, text: str) -> None:
        if text:
            self.conversation = dataclasses.replace(self.conversation, system=text)
        say(f"The model is told: {self.conversation.system or '(nothing)'}")

    def _ask(self, question: str) -> None:
        self._forget_what_does_not_fit(question)
        for _ in range(_MAX_DROPS):
            try:
                self._answer(question)
                return
            except ContextLengthExceeded as error:
                # The server counts better than we guess.
                if not self.conversation.turns:
                    raise
                self._context_tokens[self.questions.model or ""] = error.num_context_tokens
                self.conversation = self.conversation.without_oldest()
                say("(the oldest turn no longer fits the model's context and is forgotten)")

    def _forget_what_does_not_fit(self, question: str) -> None:
        context_tokens = self._context()
        if not context_tokens:
            return
        before = len(self.conversation.turns)
        self.conversation = fitted(
            self.conversation,
            question,
            context_tokens=context_tokens,
            max_tokens=self.questions.sampling.max_tokens or context_tokens,
        )
        num_dropped = before - len(self.conversation.turns)
        if num_dropped:
            turns = "the oldest turn" if num_dropped == 1 else f"the {num_dropped} oldest turns"
            say(f"({turns} no longer fit the model's context of {context_tokens} tokens)")

    def _context(self) -> int:
        """The tokens that a conversation with the model may have; 0 while that is not known."""
        name = self.questions.model or ""
        if not self._context_tokens.get(name) and self.conversation.turns:
            try:
                live = self.questions.client.live_models()
            except HearthError:  # another server than ours
                live = ()
            known = {model.name: model.context_tokens for model in live}
            self._context_tokens[name] = known.get(name, 0)
        return self._context_tokens.get(name, 0)

    def _answer(self, question: str) -> None:
        """Streams the answer. A Ctrl-C ends it; what was said until then is remembered."""
        messages = self.conversation.messages(question)
        texts: list[str] = []
        usage: Usage | None = None
        was_cut = False
        pieces = self.questions.ask_messages(messages)
        try:
            for piece in pieces:
                if piece.shown:
                    say(shown_note(piece.shown))
                print_data(piece.text, newline=False)
                texts.append(piece.text)
                usage = piece.usage or usage
                was_cut = was_cut or piece.finish_reason == "length"
        except KeyboardInterrupt:
            say(" (stopped)")
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        answer = "".join(texts)
        if not answer.endswith("\n"):
            print_data("")
        if was_cut:
            say(cut_note(self.questions.sampling.max_tokens))
        if usage is not None:
            self.conversation = self.conversation.counted(question, usage.prompt_tokens)
        if answer:
            self.conversation = self.conversation.answered(question, answer)
