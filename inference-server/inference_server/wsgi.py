"""For any WSGI server: `gunicorn inference_server.wsgi:app`. Settings come from the environment."""

import os
from logging.config import dictConfig

from inference_server.app import assemble
from inference_server.journal import journal_config
from inference_server.settings import Settings

settings = Settings.from_mapping(os.environ)
dictConfig(journal_config(settings.log_level))
app = assemble(settings)
