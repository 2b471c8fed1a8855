"""Many people at a time: a table and an archive go in, and each row says what became of it."""

from typing import Any, cast, get_args

from fastapi import APIRouter, Request, Response

from gateway_server.console.access import OperatorPage
from gateway_server.console.lists import around, cursor_of, filters_of
from gateway_server.console.new_people import PagePost, made
from gateway_server.console.pages import is_fragment, render
from gateway_server.imports.ledger import ALSO_OF, RowsWanted
from gateway_server.one_time import Given, Made
from gateway_server.routes.access import (
    SEARCH_WEIGHT,
    Audited,
    ImportId,
    TheGateway,
    does,
)
from gateway_server.schemas import RowOutcome

IMPORTS_ON_A_PAGE = 20
ROWS_ON_A_PAGE = 100
OUTCOMES = (*get_args(RowOutcome), ALSO_OF)
router = APIRouter(prefix="/console/import", include_in_schema=False, route_class=Audited)


@router.get("")
@does("list")
async def list_imports(request: Request, _visitor: OperatorPage, gateway: TheGateway) -> Response:
    imports, more = await gateway.imports.ledger.list(cursor_of(request), IMPORTS_ON_A_PAGE)
    return render(request, "imports/list.html", imports=imports, pages=around(request, more))


@router.post("")
@does("import", weight=SEARCH_WEIGHT)
async def begin_import(post: PagePost) -> Response:
    async with post.gateway.import_intake.receive(post.request) as arrived:

        async def accept(subject: Made) -> Given:
            run = await post.gateway.imports.accept(arrived, subject)
            return made(f"/console/import/{run.id}")

        return await post.answer(arrived.said(), accept)


@router.get("/{import_id}")
@does("read")
async def show_import(
    request: Request, import_id: ImportId, _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    """As a part, whenever the page looks again while the import is under way."""
    filters = filters_of(request, ("outcome",))
    outcome = filters["outcome"] if filters["outcome"] in OUTCOMES else None
    ledger = gateway.imports.ledger
    run = await ledger.get(import_id)
    page = await ledger.rows(import_id, RowsWanted(outcome, cursor_of(request), ROWS_ON_A_PAGE))
    values: dict[str, Any] = {
        "run": run,
        "tallies": {name: cast("int", getattr(run.rows, name)) for name in OUTCOMES},
        "rows": page.rows,
        "outcome": outcome,
        "pages": around(request, page.next_cursor),
    }
    template = "imports/progress.html" if is_fragment(request) else "imports/import.html"
    return render(request, template, **values)
