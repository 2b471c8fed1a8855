"""`python -m tests.inference_server.painted_server`: the real server with painted networks.

Every answer names the process that gave it, as X-Worker.
"""

from __future__ import annotations

import os

from flask import Flask, Response

from inference_server.serving import Server, serve
from inference_server.settings import Settings


class PaintedServer(Server):
    def load(self) -> Flask:  # type: ignore[override]
        from inference_server.app import create_app, demands_of
        from inference_server.face_pipeline import stamp_of
        from inference_server.gallery import Gallery
        from inference_server.gallery.store import SqlStore
        from inference_server.indexes import open_index
        from tests.inference_server.painted_people import painted_pipeline

        pipeline = painted_pipeline(settings=demands_of(self.settings))
        store = SqlStore(self.settings.database_url)
        gallery = Gallery(store, open_index(self.settings, store, stamp_of(pipeline)))
        app = create_app(self.settings, pipeline, gallery)
        app.after_request(name_worker)
        return app


def name_worker(response: Response) -> Response:
    response.headers["X-Worker"] = str(os.getpid())
    return response


if __name__ == "__main__":
    serve(PaintedServer(Settings.from_mapping(os.environ)))
