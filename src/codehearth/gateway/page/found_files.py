"""What a repository holds of a question, as files of the question's message.

So it is kept with the message, shown with it on the page, and sent again with the history.
"""

from __future__ import annotations

from codehearth.gateway.house import House
from codehearth.gateway.shown import room
from codehearth.records.talk import Attachment
from codehearth.repo.context import packed
from codehearth.wire.conversations import MAX_FILE_NAME, AnswerRequest

_USUAL_CONTEXT = 8192  # tokens, of a model that is not loaded yet


async def found_files(
    house: House, asked: AnswerRequest, model: str, *, most: int
) -> list[Attachment]:
    """At most `most`, named by their places; none where no repository is named.

    Raises NotFound for a repository that is not here.
    """
    if asked.repository is None or not asked.content:
        return []
    found = await house.repositories.search(asked.repository, asked.content)
    live = await house.live(model)
    chosen = packed(found, max_characters=room(live.context_tokens if live else _USUAL_CONTEXT))
    return [Attachment(one.place[-MAX_FILE_NAME:], one.text) for one in chosen[:most]]
