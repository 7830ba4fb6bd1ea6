"""`/auth/keys`: everybody's own API keys; an admin lists and revokes anybody's."""

from starlette.requests import Request
from starlette.responses import Response

from functions.auth import names
from functions.auth.callers import Callers
from functions.auth.keys import ApiKeys, NewKey
from functions.auth.token_routes import NO_STORE
from functions.kit.app import body, json


class KeyRoutes:
    """The endpoints of API keys."""

    def __init__(self, api_keys: ApiKeys, callers: Callers) -> None:
        self._api_keys = api_keys
        self._callers = callers

    async def create(self, request: Request) -> Response:
        """201 with the key, which is never shown again."""
        who = await self._callers.identify(request)
        created = await self._api_keys.create(who, await body(request, NewKey))
        return json(created, 201, {"Location": f"/auth/keys/{created.id}", **NO_STORE})

    async def index(self, request: Request) -> Response:
        """The caller's keys, or with `?username=` somebody else's, for an admin."""
        who = await self._callers.identify(request)
        owner = names.fold(request.query_params.get("username", who.subject))
        if owner != who.subject:
            who.require("admin")
            owner = names.username(owner)
        return json({"keys": await self._api_keys.owned_by(owner)})

    async def revoke(self, request: Request) -> Response:
        """204, also for a key that was revoked before."""
        who = await self._callers.identify(request)
        await self._api_keys.revoke(who, request.path_params["key_id"])
        return Response(status_code=204)
