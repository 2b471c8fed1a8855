"""/v1/imports: many people at a time, from a table and an archive of photos. For operators."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response, status

from gateway_server.imports.ledger import RowsWanted
from gateway_server.one_time import Given, Made
from gateway_server.routes.access import (
    BODY,
    FIRST_PAGE,
    LOCATION,
    SEARCH_WEIGHT,
    USUAL_LIMIT,
    Audited,
    ImportId,
    Operator,
    OperatorPost,
    PageCursor,
    PageLimit,
    TheGateway,
    does,
    given,
    refusals,
)
from gateway_server.routes.forms import FILE, form_of
from gateway_server.schemas import ImportOut, ImportPage, ImportRowPage, RowOutcome

IMPORT_FORM = form_of(
    required=["table", "archive"],
    files={"table": "text/csv", "archive": "application/zip"},
    table={
        **FILE,
        "description": "CSV in UTF-8 with the columns name, photo and, as far as wanted, "
        "reference, birth_date, missing_since, notes; rows with the same reference, or without one "
        "the same name, are one person; `photo` names an entry of the archive",
    },
    archive={**FILE, "description": "ZIP of the photos: stored or deflated, not encrypted"},
)
router = APIRouter(prefix="/v1/imports", tags=["imports"], route_class=Audited)


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=ImportOut,
    responses={202: LOCATION, **refusals(*BODY, 409)},
    openapi_extra=IMPORT_FORM,
)
@does("import", weight=SEARCH_WEIGHT)
async def begin_import(post: OperatorPost) -> Response:
    gateway = post.gateway
    async with gateway.import_intake.receive(post.request) as arrived:

        async def accept(made: Made) -> Given:
            run = await gateway.imports.accept(arrived, made)
            return given(run, status.HTTP_202_ACCEPTED, Location=f"/v1/imports/{run.id}")

        return await post.answer(arrived.said(), accept)


@router.get("", responses=refusals())
@does("list")
async def list_imports(
    _caller: Operator,
    gateway: TheGateway,
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> ImportPage:
    imports, more = await gateway.imports.ledger.list(cursor, limit)
    return ImportPage(imports=list(imports), next_cursor=more)


@router.get("/{import_id}", responses=refusals(404))
@does("read")
async def get_import(import_id: ImportId, _caller: Operator, gateway: TheGateway) -> ImportOut:
    return await gateway.imports.ledger.get(import_id)


@router.get("/{import_id}/rows", responses=refusals(404))
@does("list")
async def list_import_rows(
    import_id: ImportId,
    _caller: Operator,
    gateway: TheGateway,
    outcome: Annotated[
        RowOutcome | Literal["also_of"] | None,
        Query(description="only these; also_of: the photo is another person's, too"),
    ] = None,
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> ImportRowPage:
    """In the table's order."""
    return await gateway.imports.ledger.rows(import_id, RowsWanted(outcome, cursor, limit))
