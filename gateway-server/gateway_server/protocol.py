"""What is no HTTP is refused before it is a request, and in the words of every other refusal."""

import json
import logging
import uuid

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway_server.journal import REQUEST_ID_HEADER, in_request
from gateway_server.problems import MEDIA_TYPE, BadRequest

_log = logging.getLogger(__name__)


class ProblemProtocol(H11Protocol):
    """uvicorn's, but for what it says to whoever sends a broken request line or endless headers."""

    def send_400_response(self, msg: str) -> None:
        request_id = uuid.uuid4().hex
        problem = BadRequest(msg)
        with in_request(request_id):
            _log.info("no HTTP request", extra={"status": problem.status})
        body = json.dumps(problem.members(request_id)).encode()
        headers = [
            ("Content-Type", MEDIA_TYPE),
            ("Content-Length", str(len(body))),
            (REQUEST_ID_HEADER, request_id),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ]
        start = h11.Response(status_code=problem.status, headers=headers, reason=b"Bad Request")
        for event in (start, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
