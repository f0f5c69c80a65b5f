"""The application: routes, error handlers and the door before them."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from codehearth import __version__
from codehearth.errors import HearthError, InvalidRequest, MethodNotAllowed, NotFound
from codehearth.gateway import admin
from codehearth.gateway.auth import Doorkeeper
from codehearth.gateway.dialects import (
    anthropic,
    completions,
    llama_cpp,
    mistral,
    ollama,
    ollama_models,
    openai,
    responses,
    simple,
    tabby,
    verified,
)
from codehearth.gateway.documentation import describe_bodies
from codehearth.gateway.door import Door, Guests, Leaving
from codehearth.gateway.house import House
from codehearth.gateway.late_page import LatePage
from codehearth.gateway.page import (
    conversations,
    inventory,
    login,
    measurements,
    preferences,
    pulls,
    repositories,
    runs,
    talks,
    tunings,
    votes,
)
from codehearth.gateway.page.desk import Desk
from codehearth.gateway.replies import describe, error_reply, unexpected

log = logging.getLogger(__name__)

DIALECTS = (
    openai,
    completions,
    responses,
    anthropic,
    mistral,
    llama_cpp,
    ollama,
    ollama_models,
    tabby,
    verified,
    simple,
    admin,
)

OF_THE_PAGE = (
    login,
    conversations,
    talks,
    inventory,
    pulls,
    repositories,
    runs,
    votes,
    measurements,
    preferences,
    tunings,
)


def create_app(
    house: House,
    desk: Desk,
    *,
    doorkeeper: Doorkeeper,
    leaving: Leaving,
    page: LatePage | None = None,
) -> ASGIApp:
    """The ASGI application of a house and its desk, with its door before it."""
    app = FastAPI(
        title="CodeHearth",
        version=__version__,
        docs_url=None,  # FastAPI's pages load their scripts from outside
        redoc_url=None,
    )
    app.state.house = house
    app.state.desk = desk
    app.state.doorkeeper = doorkeeper
    app.state.leaving = leaving
    for routes in (*DIALECTS, *OF_THE_PAGE):
        app.include_router(routes.router)
    if page is not None:
        app.router.routes.append(page)
    app.add_exception_handler(HearthError, _tell)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_exception_handler(Exception, _tell_unexpected)
    describe_bodies(app)
    settings = house.settings
    guests = Guests(
        hosts=frozenset(name.lower() for name in settings.allowed_hosts),
        origins=frozenset(settings.allowed_origins),
        may_any_host=not settings.is_loopback,
    )
    door = Door(
        app,
        doorkeeper=doorkeeper,
        guests=guests,
        leaving=leaving,
        metrics=house.metrics,
        max_requests_per_key=settings.max_requests_per_key,
        has_page=settings.page,
    )
    if not settings.allowed_origins:
        return door
    return CORSMiddleware(
        door,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
        expose_headers=["x-request-id", "retry-after"],
    )


async def _tell(request: Request, error: Exception) -> Response:
    assert isinstance(error, HearthError)
    if error.status >= 500:
        log.warning("%s: %s", request.scope["state"]["request_id"], describe(error))
    return error_reply(error, path=request.url.path)


async def _tell_http(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: a path that is not there, a method that is not taken."""
    assert isinstance(error, HTTPException)
    path = "".join(c if c.isprintable() else "?" for c in request.url.path[:80])
    told: HearthError
    if error.status_code == 404:
        told = NotFound(f"There is nothing at {request.method} '{path}'.")
    elif error.status_code == 405:
        told = MethodNotAllowed(f"'{path}' does not take {request.method}.")
    else:
        told = InvalidRequest(f"The request was refused: {error.detail}.")
    reply = error_reply(told, path=request.url.path)
    if error.headers and "allow" in error.headers:
        reply.headers["allow"] = error.headers["allow"]
    return reply


async def _tell_unexpected(request: Request, error: Exception) -> Response:
    return error_reply(unexpected(), path=request.url.path)
