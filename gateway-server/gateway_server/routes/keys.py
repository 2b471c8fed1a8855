"""/v1/keys: who may come in. For admins."""

from dataclasses import replace

from fastapi import APIRouter, Response, status

from gateway_server.auth import Keyring, key_id_of
from gateway_server.one_time import Given, Made
from gateway_server.problems import KeyNotFound
from gateway_server.routes.access import (
    BODY,
    FIRST_PAGE,
    LOCATION,
    USUAL_LIMIT,
    Admin,
    AdminPost,
    Audited,
    KeyId,
    PageCursor,
    PageLimit,
    TheGateway,
    does,
    given,
    json_of,
    read_json,
    refusals,
)
from gateway_server.schemas import KeyIn, KeyOut, KeyPage, KeyRotation, KeyShown
from gateway_server.texts import LINE, check_name

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=Audited)


@router.get("", responses=refusals())
@does("key.list")
async def list_keys(
    _caller: Admin,
    gateway: TheGateway,
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> KeyPage:
    page = await gateway.keyring.page(cursor, limit)
    return KeyPage(keys=[KeyOut.from_row(row) for row in page.rows], next_cursor=page.next_cursor)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=KeyShown,
    responses={201: LOCATION, **refusals(*BODY, 409)},
    openapi_extra=json_of(KeyIn),
)
@does("key.create")
async def create_key(post: AdminPost) -> Response:
    """The answer shows the key, this once: repeated under its Idempotency-Key, it is a 409."""
    said = await read_json(post.request, KeyIn)
    name = check_name(LINE.check("name", said.name))

    async def create(made: Made) -> Given:
        key_id = key_id_of(made.subject_id)
        key = await post.gateway.keyring.create(
            name, said.role, expires_days=said.expires_days, key_id=key_id
        )
        return await _shown(post.gateway.keyring, key_id, key, status.HTTP_201_CREATED)

    return await post.answer([said.model_dump_json()], create)


@router.post(
    "/{key_id}/rotate",
    response_model=KeyShown,
    responses={200: LOCATION, **refusals(*BODY, 404, 409)},
    openapi_extra=json_of(KeyRotation),
)
@does("key.rotate")
async def rotate_key(key_id: KeyId, post: AdminPost) -> Response:
    """Another secret for the same key; the one before is good for `grace_s` more, usually 0."""
    said = await read_json(post.request, KeyRotation)

    async def rotate(_made: Made) -> Given:
        key = await post.gateway.keyring.rotate(
            key_id, grace_s=said.grace_s, expires_days=said.expires_days
        )
        return await _shown(post.gateway.keyring, key_id, key, status.HTTP_200_OK)

    return await post.answer([said.model_dump_json()], rotate)


@router.delete("/{key_id}", responses=refusals(404, 409))
@does("key.revoke")
async def revoke_key(key_id: KeyId, _caller: Admin, gateway: TheGateway) -> KeyOut:
    """Refused from now on. The last admin's key stays: nobody could make another from afar."""
    if not await gateway.keyring.revoke(key_id, spare_last_admin=True):
        raise KeyNotFound(f"No key that has not been revoked has the id {key_id}")
    return KeyOut.from_row(await gateway.keyring.get(key_id))


async def _shown(keyring: Keyring, key_id: str, key: str, created: int) -> Given:
    kept = KeyOut.from_row(await keyring.get(key_id))
    shown = KeyShown(**dict(kept), key=key)
    return replace(given(shown, created, Location=f"/v1/keys/{key_id}"), is_secret=True)
