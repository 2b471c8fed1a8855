"""`python -m tools.face_finder`: the detector's weights as the phone page reads them.

4 bytes little-endian: the length of a JSON header, padded to 4; the header; then the weights as
float16, each convolution's kernels and biases in the order in which the network is run. Half the
detector's size, and close enough for a hint before sending; `tests/browser` holds both together.
"""

import hashlib
import json
import struct
from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parent.parent
DETECTOR = ROOT / "models" / "face_models" / "weights" / "detector.onnx"
FINDER = ROOT / "gateway-server" / "gateway_server" / "phone" / "static" / "face-finder.bin"


def main() -> None:
    data = packed(DETECTOR)
    FINDER.write_bytes(data)
    print(f"{FINDER.relative_to(ROOT)}: {len(data):,} bytes")


def packed(detector: Path) -> bytes:
    graph = onnx.load(detector).graph
    tensors = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    layers: list[list[int]] = []
    weights: list[bytes] = []
    for node in (one for one in graph.node if one.op_type == "Conv"):
        kernels, biases = (tensors[name] for name in node.input[1:])
        strides = next(one.ints for one in node.attribute if one.name == "strides")
        outputs, inputs_each, side, _ = kernels.shape
        layers.append([outputs, inputs_each, side, strides[0]])
        weights += [kernels.astype("<f2").tobytes(), biases.astype("<f2").tobytes()]
    header = {"detector_sha256": sha256_of(detector), "layers": layers}
    return _framed(json.dumps(header).encode()) + b"".join(weights)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _framed(header: bytes) -> bytes:
    padded = header + b" " * (-len(header) % 4)
    return struct.pack("<I", len(padded)) + padded


def read_header(data: bytes) -> dict[str, object]:
    (length,) = struct.unpack_from("<I", data)
    header: dict[str, object] = json.loads(data[4 : 4 + length])
    return header


if __name__ == "__main__":
    main()
