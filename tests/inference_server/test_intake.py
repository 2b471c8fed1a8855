"""Photos and options of a request."""

from __future__ import annotations

from io import BytesIO

from flask import Flask

from inference_server.intake import PhotoRequest, read_photo

LARGER_THAN_WERKZEUG_KEEPS_IN_MEMORY = 600_000


def test_a_large_upload_stays_in_memory():
    photo = bytes(LARGER_THAN_WERKZEUG_KEEPS_IN_MEMORY)
    head = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p.png"\r\n\r\n'
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
        "CONTENT_LENGTH": str(len(head) + len(photo) + 9),
        "wsgi.input": BytesIO(head + photo + b"\r\n--b--\r\n"),
    }
    with Flask(__name__).app_context():
        request = PhotoRequest(environ)
        assert read_photo(request) == photo
        assert isinstance(request.files["photo"].stream, BytesIO)
