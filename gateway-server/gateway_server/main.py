"""What an ASGI server imports, `uvicorn gateway_server.main:app`: settings from the environment."""

import os

from gateway_server.app import create_app
from gateway_server.journal import start_journal
from gateway_server.settings import Settings

settings = Settings.from_mapping(os.environ)
start_journal(settings.log_level)
app = create_app(settings)
