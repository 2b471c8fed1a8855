"""Hostile requests, generated from a seed: none may crash, fill or silence the gateway."""

import io
import random
import socket
import struct
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from PIL import Image

from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import shrink
from tests.system.drills.estate import Estate, demo_people, estate
from tests.system.drills.size import Size

MOST_MIB = 400
ANSWER_WITHIN_S = 20.0
ATTACKERS = 6
SLOW = 10  # slow-loris connections held open through the whole drill
SEED = 6


def hostile_uploads(folder: Path, size: Size) -> str:
    """No 500, no crash, memory bounded, and a good upload answered meanwhile."""
    with estate(folder, settings={"UPLOAD_WITHIN_S": "3"}) as house:
        loris = [_SlowLoris(house, number) for number in range(SLOW)]
        dice = random.Random(SEED)
        requests = [ATTACKS[n % len(ATTACKS)](house.mobile_key, dice) for n in range(size.hostile)]
        good = shrink(demo_people(1)[0].enrolled[0])
        most_mib, answers = 0.0, Counter[str]()
        with (
            ThreadPoolExecutor(ATTACKERS) as attackers,
            Client(Connection(house.urls[0], house.mobile_key)) as phone,
        ):
            for number, answer in enumerate(attackers.map(partial(_send, house), requests)):
                answers[answer] += 1
                if number % 50 == 0:
                    most_mib = max(most_mib, house.gateways[0].resident_mib)
                    assert phone.search(good).status == "done", "a good upload found no answer"
        most_mib = max(most_mib, house.gateways[0].resident_mib)
        for one in loris:
            one.stop()
        house.gateways[0].server.check()
        assert not answers["500"], dict(answers)
        assert most_mib < MOST_MIB, f"{most_mib:.0f} MiB resident"
        told = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
        return f"{size.hostile} hostile requests: {told}; {most_mib:.0f} MiB resident at most"


def _send(house: Estate, request: bytes) -> str:
    """The answer's status, or how the connection ended without one."""
    address = ("127.0.0.1", house.gateways[0].plan.gateway_port)
    with socket.create_connection(address, timeout=ANSWER_WITHIN_S) as connection:
        with suppress(OSError):  # it may be refused before all of it is sent
            connection.sendall(request)
        try:
            answer = connection.recv(4096)
        except TimeoutError:
            return "silence"
        except OSError:
            return "hung up"
    return answer.split(b" ", 2)[1].decode("latin-1") if answer.startswith(b"HTTP/") else "hung up"


class _SlowLoris:
    """A body that comes byte by byte, as long as the gateway bears it."""

    def __init__(self, house: Estate, number: int) -> None:
        self._stopped = threading.Event()
        self._address = ("127.0.0.1", house.gateways[0].plan.gateway_port)
        self._head = _head(house.mobile_key, 100_000 + number)
        self._thread = threading.Thread(target=self._drip, daemon=True)
        self._thread.start()

    def _drip(self) -> None:
        while not self._stopped.is_set():
            with suppress(OSError), socket.create_connection(self._address, timeout=5) as one:
                one.sendall(self._head + OPENING)
                while not self._stopped.wait(0.5):
                    one.sendall(b"\xff")

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


OPENING = (
    b'--edge\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n"
)
CLOSING = b"\r\n--edge--\r\n"


def _head(key: str, length: int, *more: str, path: str = "/v1/searches") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {key}",
        "Content-Type: multipart/form-data; boundary=edge", f"Content-Length: {length}", *more,
    ]  # fmt: skip
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _form(key: str, photo: bytes, *more: str) -> bytes:
    body = OPENING + photo + CLOSING
    return _head(key, len(body), *more) + body


def _jpeg(dice: random.Random) -> bytes:
    data = io.BytesIO()
    colour = tuple(dice.randrange(256) for _ in "rgb")
    Image.new("RGB", (dice.randrange(1, 200), dice.randrange(1, 200)), colour).save(data, "JPEG")
    return data.getvalue()


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def bomb(key: str, dice: random.Random) -> bytes:
    """Few bytes that unpack to many pixels, within the limits and beyond."""
    side = dice.choice([3_000, 7_000, 30_000, 60_000])
    return _form(key, _png(side, side, bytes(min(side * 100, 5_000_000))))


def truncation(key: str, dice: random.Random) -> bytes:
    photo = _jpeg(dice)
    return _form(key, photo[: dice.randrange(len(photo))])


def mutation(key: str, dice: random.Random) -> bytes:
    photo = bytearray(_jpeg(dice))
    for _ in range(dice.randrange(1, 30)):
        photo[dice.randrange(len(photo))] = dice.randrange(256)
    return _form(key, bytes(photo))


def polyglot(key: str, dice: random.Random) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("../../evil.sh", b"0" * dice.randrange(1_000_000))
    tails = [archive.getvalue(), b"<script>alert(1)</script>", b"%PDF-1.7", b"\x7fELF" + bytes(99)]
    heads = [
        _jpeg(dice),
        b"GIF89a",
        b"<svg onload=alert(1)>",
        b"",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
    ]
    return _form(key, dice.choice(heads) + dice.choice(tails))


def wrong_length(key: str, dice: random.Random) -> bytes:
    body = OPENING + _jpeg(dice) + CLOSING
    length = dice.choice([0, 1, len(body) // 2, len(body) + 1, len(body) * 9, 10**15, -1])
    return _head(key, length) + body


def header_flood(key: str, dice: random.Random) -> bytes:
    count, longest = dice.choice([(1_000, 10), (50, 8_000), (3, 70_000)])
    return _form(key, _jpeg(dice), *(f"X-Flood-{n}: {'a' * longest}" for n in range(count)))


def part_flood(key: str, dice: random.Random) -> bytes:
    part = b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\nx\r\n'
    names = [b"photo", b"top_k", b"purpose", b"unknown", b"", b"photo[]", b"../photo"]
    body = b"".join(part % dice.choice(names) for _ in range(dice.choice([3, 300, 30_000])))
    return _head(key, len(body)) + body


def odd_form(key: str, dice: random.Random) -> bytes:
    names = ["..\\..\\a.jpg", "a\0.jpg", "/etc/passwd", '"; rm -rf', "\u202egpj.exe", "x" * 5000]
    kind = dice.choice(["image/jpeg", "text/html", "multipart/mixed; boundary=edge", "\xff\xfe"])
    name = dice.choice(names)
    opening = (
        f'--edge\r\nContent-Disposition: form-data; name="photo"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode("utf-8", "surrogatepass")
    body = opening + _jpeg(dice) + dice.choice([CLOSING, b"", b"\r\n--edge", CLOSING * 2])
    return _head(key, len(body)) + body


def odd_values(key: str, dice: random.Random) -> bytes:
    value = dice.choice(
        [b"-1", b"1e99", b"\xff\xfe", b"9" * 10_000, b"NaN", b"'; DROP TABLE--", b"\0"]
    )
    field = dice.choice([b"top_k", b"face", b"model", b"purpose", b"case_reference"])
    text = b'\r\n--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s' % (field, value)
    body = OPENING + _jpeg(dice) + text + CLOSING
    odd_key = dice.choice(["", "a b", "\xff", "k" * 300, "same", "same"])
    return _head(key, len(body), f"Idempotency-Key: {odd_key}") + body


def odd_http(key: str, dice: random.Random) -> bytes:
    form = _form(key, _jpeg(dice))
    return dice.choice(
        [
            form.replace(b"HTTP/1.1", b"HTTP/9.9"),
            form.replace(b"POST", b"BREW"),
            form.replace(b"/v1/searches", b"/v1/../../etc/passwd"),
            form.replace(b"/v1/searches", b"/v1/searches?" + b"a=b&" * 5_000),
            form.replace(b"/v1/searches", b"/v1/searches/%00%ff/photo"),
            form.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length"),
            form.replace(b"Bearer", b"Bearer rk_" + b"0" * 12 + b"_x"),
            bytes(dice.randrange(256) for _ in range(2_000)),
            b"\x16\x03\x01" + bytes(200),
            form[: dice.randrange(len(form))],
        ]
    )


def odd_json(key: str, dice: random.Random) -> bytes:
    bodies = [
        b"[" * 50_000,
        b'{"a":' * 5_000,
        b'"' + b"\\ud800" * 99 + b'"',
        b"1e999999",
        b"{}",
        bytes(70_000),
    ]
    body = dice.choice(bodies)
    path = dice.choice(
        ["/v1/searches/x/feedback", "/v1/searches/" + "0" * 36 + "/feedback", "/v1/persons/x"]
    )
    head = _head(key, len(body), path=path)
    return head.replace(b"multipart/form-data; boundary=edge", b"application/json") + body


ATTACKS: Sequence[Callable[[str, random.Random], bytes]] = (
    bomb, truncation, mutation, polyglot, wrong_length, header_flood, part_flood, odd_form,
    odd_values, odd_http, odd_json,
)  # fmt: skip
