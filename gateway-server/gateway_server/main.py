"""What an ASGI server imports, `uvicorn gateway_server.main:app`: settings from the environment."""

import os
import sys

from gateway_server.app import create_app
from gateway_server.journal import start_journal
from gateway_server.settings import Settings

SWITCH_INTERVAL_S = (
    0.0005  # else a thread that comes back from the database waits ten times as long
)

sys.setswitchinterval(SWITCH_INTERVAL_S)
settings = Settings.from_mapping(os.environ)
start_journal(settings.log_level)
app = create_app(settings)
