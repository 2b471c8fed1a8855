"""A search as the console and the report show it, for one caller."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway_server.auth import Caller
from gateway_server.gateway import Gateway
from gateway_server.review.desk import Standing
from gateway_server.schemas import CandidateOut, FaceFound, SearchOut
from gateway_server.tables import Search


@dataclass(frozen=True)
class SearchView:
    row: Search
    search: SearchOut
    standings: Mapping[str, Standing]
    """By the candidates' person ids."""

    @property
    def values(self) -> Mapping[str, Any]:
        """For a template."""
        return {
            "row": self.row,
            "search": self.search,
            "face": self.face,
            "standings": self.standings,
        }

    @property
    def face(self) -> FaceFound | None:
        """The one that was searched for."""
        found = (one for one in self.search.faces or () if one.index == self.search.face)
        return next(found, None)

    def candidate(self, person_id: str) -> CandidateOut:
        return next(one for one in self.search.candidates or () if one.person_id == person_id)


async def view_search(gateway: Gateway, search_id: str, caller: Caller) -> SearchView:
    row = await gateway.search_reader.find(search_id, caller)
    search = await gateway.search_reader.get(search_id, caller)
    standings: Mapping[str, Standing] = {}
    if search.face is not None and search.candidates:
        people = [one.person_id for one in search.candidates]
        standings = await gateway.review.standings(row.photo_sha256, search.face, people, caller)
    return SearchView(row, search, standings)
