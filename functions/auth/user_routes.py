"""`/auth/users`: for admins alone."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from functions.auth import names
from functions.auth.callers import Callers
from functions.auth.users import NewUser, UserChange, Users
from functions.kit.app import body, json
from functions.kit.problem import BadRequest

# A page that a person can read; the next one starts after its last name.
PAGE: Final = 100


class UserRoutes:
    """The endpoints of users."""

    def __init__(self, users: Users, callers: Callers) -> None:
        self._users = users
        self._callers = callers

    async def create(self, request: Request) -> Response:
        """201 with the user."""
        await self._callers.admin(request)
        user = await self._users.create(await body(request, NewUser))
        return json(user, 201, {"Location": f"/auth/users/{user.username}"})

    async def index(self, request: Request) -> Response:
        """One page by name; `next_cursor` is null on the last."""
        await self._callers.admin(request)
        limit, after = _limit(request), request.query_params.get("cursor", "")
        page = await self._users.page(names.username(after) if after else "", limit + 1)
        return json({"users": page[:limit], "next_cursor": page[limit - 1].username if len(page) > limit else None})

    async def show(self, request: Request) -> Response:
        """One user."""
        await self._callers.admin(request)
        return json(await self._users.get(_named(request)))

    async def change(self, request: Request) -> Response:
        """A new password or role."""
        await self._callers.admin(request)
        return json(await self._users.change(_named(request), await body(request, UserChange)))

    async def delete(self, request: Request) -> Response:
        """204; the user's API keys are gone with it."""
        await self._callers.admin(request)
        await self._users.delete(_named(request))
        return Response(status_code=204)


def _named(request: Request) -> str:
    return names.fold(request.path_params["username"])


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(PAGE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= PAGE):
        raise BadRequest(f"limit is a number from 1 to {PAGE}")
    return int(text)
