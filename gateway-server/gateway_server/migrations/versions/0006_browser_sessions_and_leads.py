"""Browser sessions; leads and the voices on them, also of what was searched and judged before."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection

from gateway_server.review.decisions import WAITING, Voice, decide
from gateway_server.tables import UtcTime

revision = "0006"
down_revision = "0005"
LEAST_CONFIDENCE = 0.5
AT_A_TIME = 500
Pair = tuple[str, int, str]


def upgrade() -> None:
    _create_browser_sessions()
    _create_leads()
    _create_voices()
    _fill(op.get_bind())


def _create_browser_sessions() -> None:
    op.create_table(
        "browser_session",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("csrf_token", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"]),
        sa.PrimaryKeyConstraint("token_sha256"),
    )
    with op.batch_alter_table("browser_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_browser_session_key_id"), ["key_id"], unique=False)


def _create_leads() -> None:
    op.create_table(
        "lead",
        sa.Column("photo_sha256", sa.String(length=64), nullable=False),
        sa.Column("face", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("search_id", sa.String(length=36), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("unsure", sa.Integer(), nullable=False),
        sa.Column("doubt", sa.Double(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["search_id"], ["search.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("photo_sha256", "face", "person_id"),
    )
    by_turn = ["waits", "unsure", "doubt", "photo_sha256", "face", "person_id"]
    with op.batch_alter_table("lead", schema=None) as batch_op:
        batch_op.create_index("lead_by_turn", by_turn, unique=False)
        batch_op.create_index("lead_by_status", ["status", "changed_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_lead_person_id"), ["person_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_lead_search_id"), ["search_id"], unique=False)


def _create_voices() -> None:
    pair = ["photo_sha256", "face", "person_id"]
    op.create_table(
        "lead_voice",
        sa.Column("photo_sha256", sa.String(length=64), nullable=False),
        sa.Column("face", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("given_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(pair, [f"lead.{name}" for name in pair], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"]),
        sa.PrimaryKeyConstraint(*pair, "key_id"),
    )


def _table(name: str, *names: str, **typed: Any) -> sa.TableClause:
    kinds = {**dict.fromkeys(names, sa.String()), **typed}
    return sa.table(name, *(sa.column(one, kind) for one, kind in kinds.items()))


SEARCH = _table("search", "id", "photo_sha256", "status", answer=sa.JSON(), created_at=UtcTime())
FEEDBACK = _table("feedback", "search_id", "person_id", "key_id", "verdict", created_at=UtcTime())
API_KEY = _table("api_key", "id", "role")
PERSON = _table("person", "id")
LEAD = _table(
    "lead",
    *("photo_sha256", "person_id", "search_id", "status"),
    face=sa.Integer(),
    waits=sa.Boolean(),
    unsure=sa.Integer(),
    doubt=sa.Double(),
    created_at=UtcTime(),
    changed_at=UtcTime(),
)
VOICE = _table(
    "lead_voice",
    *("photo_sha256", "person_id", "key_id", "verdict"),
    face=sa.Integer(),
    given_at=UtcTime(),
)


def _fill(connection: Connection) -> None:
    people = set(connection.scalars(sa.select(PERSON.c.id)))
    voices = _voices(connection)
    leads: dict[Pair, dict[str, Any]] = {}
    said: dict[Pair, dict[str, Voice]] = {}
    for search in _searches(connection):
        for one in search["answer"]["candidates"]:
            pair = (search["photo_sha256"], search["answer"]["face"], one["person_id"])
            judged = voices.get((search["id"], one["person_id"]), [])
            if pair[2] in people and (judged or one["confidence"] >= LEAST_CONFIDENCE):
                leads[pair] = _lead(pair, search, one["confidence"])
                _hear(said.setdefault(pair, {}), judged)
    rows = [{**row, **_weighed(said[pair].values())} for pair, row in leads.items()]
    _insert(connection, LEAD, rows)
    _insert(connection, VOICE, [_voice(pair, v) for pair in said for v in said[pair].values()])


def _hear(known: dict[str, Voice], judged: Collection[Voice]) -> None:
    """Of each reviewer what they said last, whichever search they said it of."""
    for voice in judged:
        earlier = known.get(voice.key_id)
        if earlier is None or voice.given_at >= earlier.given_at:
            known[voice.key_id] = voice


def _searches(connection: Connection) -> Iterator[Mapping[str, Any]]:
    """The newest last."""
    done = sa.select(SEARCH).where(SEARCH.c.status == "done", SEARCH.c.answer.is_not(None))
    ordered = done.order_by(SEARCH.c.created_at, SEARCH.c.id)
    after = 0
    while rows := connection.execute(ordered.limit(AT_A_TIME).offset(after)).mappings().all():
        after += len(rows)
        yield from (dict(row) for row in rows if row["answer"])


def _voices(connection: Connection) -> Mapping[tuple[str, str], list[Voice]]:
    """Of operators, by search and person, in the order in which they were given."""
    by_whom = sa.select(FEEDBACK, API_KEY.c.role).join(API_KEY, API_KEY.c.id == FEEDBACK.c.key_id)
    operators = by_whom.where(API_KEY.c.role.in_(("operator", "admin")))
    found: dict[tuple[str, str], list[Voice]] = {}
    for row in connection.execute(operators.order_by(FEEDBACK.c.created_at)):
        voice = Voice(row.key_id, row.role, row.verdict, row.created_at)
        found.setdefault((row.search_id, row.person_id), []).append(voice)
    return found


def _lead(pair: Pair, search: Mapping[str, Any], confidence: float) -> dict[str, Any]:
    photo_sha256, face, person_id = pair
    return {
        "photo_sha256": photo_sha256,
        "face": face,
        "person_id": person_id,
        "search_id": search["id"],
        "doubt": 1 - confidence,
        "created_at": search["created_at"],
    }


def _weighed(voices: Collection[Voice]) -> dict[str, Any]:
    known = list(voices)
    status = decide(known)
    return {
        "status": status,
        "waits": status in WAITING,
        "unsure": sum(voice.verdict == "unsure" for voice in known),
        "changed_at": max((voice.given_at for voice in known), default=None),
    }


def _voice(pair: Pair, voice: Voice) -> dict[str, Any]:
    photo_sha256, face, person_id = pair
    said = {"key_id": voice.key_id, "verdict": voice.verdict, "given_at": voice.given_at}
    return {"photo_sha256": photo_sha256, "face": face, "person_id": person_id, **said}


def _insert(connection: Connection, table: sa.TableClause, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), AT_A_TIME):
        connection.execute(table.insert(), rows[start : start + AT_A_TIME])


def downgrade() -> None:
    raise NotImplementedError("Biometric data is not moved backwards: restore a backup")
