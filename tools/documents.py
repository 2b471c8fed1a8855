"""`make docs`: the tables of the README and the model card, written from what they describe."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway_server.settings import Settings as GatewaySettings
from inference_server.settings import Settings as InferenceSettings
from tools import results

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "models/face_models/weights/MODEL_CARD.md")
BLOCK = re.compile(r"(<!-- begin (?P<name>[a-z -]+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)


def rendered(text: str) -> str:
    """`text` with all between `<!-- begin NAME -->` and `<!-- end NAME -->` made anew."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block['name']]()}\n{block[3]}", text)


def menu() -> str:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"^([a-z]+):.*## (.*)$", makefile, flags=re.MULTILINE)
    return _table(
        ("command", "what it does"), [(f"`make {name}`", does) for name, does in commands]
    )


def settings_table(settings: type[GatewaySettings] | type[InferenceSettings]) -> str:
    rows = [(f"`{row.name}`", f"`{row.default}`", row.unit, row.help) for row in settings.rows()]
    return _table(("variable", "default", "unit", "what it sets"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    lines = (head, ("---",) * len(head), *escaped)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "menu": menu,
    "settings gateway-server": lambda: settings_table(GatewaySettings),
    "settings inference-server": lambda: settings_table(InferenceSettings),
    "verification": lambda: _table(*results.verification()),
    "validation": lambda: _table(*results.validation()),
    "open set": lambda: _table(*results.open_set()),
    "calibration": lambda: _table(*results.calibration()),
    "robustness": lambda: _table(*results.robustness()),
    "channel": lambda: _table(*results.channel()),
    "laboratory": lambda: _table(*results.laboratory()),
    "identification": lambda: _table(*results.identification()),
    "detection": lambda: _table(*results.detection()),
    "drills": lambda: _table(*results.drills()),
    "milvus": lambda: _table(*results.milvus()),
    "scale": lambda: _table(*results.scale()),
    "speed": lambda: _table(*results.speed()),
}


def main() -> None:
    for page in PAGES:
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
