"""Conversations and taught code, drawn at random: what the mixture asks for."""

import random
from dataclasses import dataclass

from . import smalltalk, unknown, wordings
from .idioms import idiom
from .tasks import Task
from .windows import Conversation, Turn
from .wordings import Language

SYSTEM_SHARE = 0.3
SECOND_TURN_SHARE = 0.15
CHINESE_SHARE = 0.58
SUGGESTED_SHARE = 0.1
SMALLTALK_SHARE = 0.06
UNKNOWN_SHARE = 0.22
SUGGESTED = (
    "reverse_string",
    "is_prime",
    "quick_sort",
    "bubble_sort",
    "fibonacci",
    "Stack",
    "load_json",
    "count_words",
)


@dataclass(frozen=True)
class Teaching:
    """The taught tasks and the requests to decline.

    `more_share` of the questions are put in the phrases that were added later; of the code,
    `idiom_share` are idioms.
    """

    tasks: tuple[Task, ...]
    unknown: dict[Language, list[str]]
    more_share: float
    idiom_share: float

    def conversation(self, rng: random.Random) -> Conversation:
        """Perhaps a system prompt, then one exchange, seldom two."""
        turns: list[Turn] = []
        if rng.random() < SYSTEM_SHARE:
            turns.append(Turn("system", rng.choice(wordings.SYSTEM_PROMPTS)))
        language: Language = "zh" if rng.random() < CHINESE_SHARE else "en"
        num_exchanges = 2 if rng.random() < SECOND_TURN_SHARE else 1
        for _ in range(num_exchanges):
            question, answer = self._exchange(rng, language)
            turns += [Turn("user", question), Turn("assistant", answer)]
        return tuple(turns)

    def draw(self, rng: random.Random) -> Task:
        """A task; those that the model itself suggests come more often."""
        if rng.random() < SUGGESTED_SHARE:
            return rng.choice([task for task in self.tasks if task.name in SUGGESTED])
        return rng.choice(self.tasks)

    def code(self, rng: random.Random) -> str:
        """A file of one taught task, or two: as it is, or under a comment that asks for it.

        Or one of idioms, whose names change."""
        num_parts = rng.choice((1, 1, 2))
        if rng.random() < self.idiom_share:
            parts = [idiom(rng) for _ in range(num_parts)]
        else:
            parts = [_as_file(rng, self.draw(rng)) for _ in range(num_parts)]
        return "\n\n\n".join(parts) + "\n"

    def _exchange(self, rng: random.Random, language: Language) -> tuple[str, str]:
        choice = rng.random()
        if choice < SMALLTALK_SHARE:
            question, answer = smalltalk.smalltalk_exchange(rng, language)
            return wordings.vary(rng, question), answer
        if choice < SMALLTALK_SHARE + UNKNOWN_SHARE:
            question = self._unknown_question(rng, language)
            return wordings.vary(rng, question), smalltalk.refusal(rng, language)
        task = self.draw(rng)
        phrase = self._phrase(rng, task, language)
        question = wordings.fill(wordings.template(rng, language), task, phrase)
        return wordings.vary(rng, question), wordings.answer(task, language)

    def _phrase(self, rng: random.Random, task: Task, language: Language) -> str:
        first, more = (
            (task.english, task.more_english)
            if language == "en"
            else (task.chinese, task.more_chinese)
        )
        return rng.choice(more if more and rng.random() < self.more_share else first)

    def _unknown_question(self, rng: random.Random, language: Language) -> str:
        """What it must decline: a line of the list, a composed one, or another language's code."""
        choice = rng.random()
        if choice < 0.2:
            phrase = rng.choice(
                getattr(self.draw(rng), "english" if language == "en" else "chinese")
            )
            return unknown.in_another_language(rng, language, phrase)
        line = (
            rng.choice(self.unknown[language])
            if choice < 0.55
            else unknown.composed_request(rng, language)
        )
        return unknown_question(wordings.template(rng, language), line)


def unknown_question(sentence: str, line: str) -> str:
    """A line of `unknown.txt` as a question: `+` phrases are worded like a task."""
    if not line.startswith("+"):
        return line
    name = line[1:].split()[-1] if line.isascii() else ""
    task = Task(name or "it", (line[1:],), (line[1:],), "", ())
    return wordings.fill(sentence, task, line[1:])


def _as_file(rng: random.Random, task: Task) -> str:
    choice = rng.random()
    if choice < 0.5 or not task.code.startswith(("def ", "class ")):
        return task.code
    comment = rng.choice(task.english if choice < 0.7 else task.chinese)
    return f"# {comment}\n{task.code}"
