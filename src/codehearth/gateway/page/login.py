"""Browsers: a key becomes a session in a cookie, and who is not logged in sees a form.

The form needs no script and nothing from the server but itself, so no path of the page has to be
open to strangers. The cookie is HttpOnly (no script of a page reads it) and SameSite=Strict (no
other site sends it); the door checks the origin besides, because another port of this host is the
same site.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from codehearth.errors import Unauthorized
from codehearth.gateway.auth import SESSION_COOKIE, Caller, Doorkeeper, caller_of, session_token
from codehearth.gateway.body import content_type_of, read_bytes, read_request
from codehearth.gateway.page.desk import desk_of
from codehearth.gateway.page.login_form import login_form
from codehearth.gateway.replies import JsonResponse
from codehearth.records.sessions import LIFETIME_S
from codehearth.wire.requests import Shape

router = APIRouter()

_FORM_TYPE = "application/x-www-form-urlencoded"
_MAX_FORM_BYTES = 4096


class LoginRequest(Shape):
    key: Annotated[str, Field(min_length=1, max_length=512)]


@router.get("/hearth/session")
async def session(request: Request) -> Response:
    """Who is asking. Open to everybody: it tells a stranger only that keys are needed."""
    return JsonResponse(_who(request, caller_of(request)))


@router.post("/hearth/login")
async def login(request: Request) -> Response:
    """The session of a key, in a cookie. A form is answered with the page or the form again."""
    is_form = content_type_of(request) == _FORM_TYPE
    if is_form:
        fields = parse_qs((await read_bytes(request, max_bytes=_MAX_FORM_BYTES)).decode("latin-1"))
        given = fields.get("key", [""])[0].strip()
    else:
        given = (await read_request(request, LoginRequest)).key.strip()
    key = _doorkeeper(request).key_of(given)
    if key is None:
        if is_form:
            return login_form(is_wrong=True)
        raise Unauthorized("The API key is not known here, or was revoked.", param="key")
    archive = desk_of(request).archive
    token = await archive.do(archive.sessions.begin, key.id)
    caller = Caller.with_key(key, by="session")
    reply: Response
    if is_form:
        reply = RedirectResponse("/", status_code=303)
    else:
        expires_at = _doorkeeper(request).session_ends_at(token)
        reply = JsonResponse(_who(request, caller) | {"expires_at": expires_at})
    reply.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=int(LIFETIME_S),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return reply


@router.post("/hearth/logout")
async def logout(request: Request) -> Response:
    """Ends the session of the cookie."""
    token = session_token(request.headers)
    if token:
        archive = desk_of(request).archive
        await archive.do(archive.sessions.end, token)
    reply = JsonResponse({"is_signed_in": False})
    reply.delete_cookie(
        SESSION_COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return reply


def _who(request: Request, caller: Caller) -> dict[str, Any]:
    doorkeeper = _doorkeeper(request)
    is_signed_in = caller.by != "nobody"
    token = session_token(request.headers) if caller.by == "session" else ""
    role = "admin" if caller.is_admin else "chat"
    return {
        "user": caller.name if caller.owner.startswith("key-") else None,
        "role": role if is_signed_in else None,
        "keys_required": doorkeeper.needs_key(),
        "is_signed_in": is_signed_in,
        "by": caller.by if is_signed_in else None,
        "expires_at": doorkeeper.session_ends_at(token) if token else None,
    }


def _doorkeeper(request: Request) -> Doorkeeper:
    doorkeeper = request.app.state.doorkeeper
    assert isinstance(doorkeeper, Doorkeeper)
    return doorkeeper
