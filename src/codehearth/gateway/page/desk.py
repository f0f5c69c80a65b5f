"""The desk: what the routes of the page share, beside the house that all routes share."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from codehearth.gateway.choosing import environments_of
from codehearth.gateway.house import House
from codehearth.gateway.page.answers import Answers
from codehearth.gateway.page.archive import Archive
from codehearth.gateway.page.downloads import Downloads
from codehearth.gateway.page.trainings import Trainings


@dataclass
class Desk:
    """Records, answers under way, downloads and trainings of one running server."""

    archive: Archive
    answers: Answers
    downloads: Downloads
    trainings: Trainings

    async def close(self) -> None:
        """Interrupts what is under way, and saves it."""
        await self.answers.close()
        await self.trainings.close()
        await self.downloads.close()
        self.archive.close()


async def open_desk(house: House) -> Desk:
    """The desk of a house; what the last server left undone is marked as such."""
    archive = Archive(house.settings.data)
    await archive.do(archive.conversations.interrupt_all)
    while await archive.do(archive.conversations.index_some, limit=100):
        pass  # an import that was cut short
    downloads = Downloads(house.store, archive)
    await downloads.open()
    trainings = Trainings(house.settings.data, house.store, environments_of(house.settings))
    return Desk(archive, Answers(archive), downloads, trainings)


def desk_of(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk
