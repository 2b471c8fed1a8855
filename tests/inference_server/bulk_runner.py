"""`python -m tests.inference_server.bulk_runner SOURCE --executor NAME`: a run that can be killed.

Batches are small, so that there is always something half-way.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from inference_server.bulk import command, run
from inference_server.settings import Settings
from tests.inference_server.bulk_sources import LoadPainted

PROCESSES = 2


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("--ray")
    asked = parser.parse_args()
    run.BATCH_FACES = 4  # type: ignore[misc]
    asked.report, asked.processes, asked.bring_back = None, PROCESSES, False
    return command.run(asked, Settings.without_token(os.environ), LoadPainted())


if __name__ == "__main__":
    raise SystemExit(main())
