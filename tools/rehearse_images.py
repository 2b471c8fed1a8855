"""The images' steps by hand, where no container engine runs.

For each Dockerfile: what .dockerignore lets through is copied to an empty folder, the `pip install`
line runs in a clean environment, and the entry point starts with the image's own variables. Needs
the package index; a minute.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ("inference-server", "gateway-server", "mobile-client-mock")
IMAGE_PIP = "/opt/reunite/bin/pip"


@dataclass(frozen=True)
class Dockerfile:
    instructions: tuple[tuple[str, str], ...]  # ("RUN", "python -m venv /opt/reunite"), ...

    def all(self, word: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == word]

    @property
    def sources(self) -> list[str]:
        """What is copied from the repository; not what comes from another stage."""
        return [shlex.split(rest)[0] for rest in self.all("COPY") if not rest.startswith("--from")]

    @property
    def environment(self) -> dict[str, str]:
        pairs = (pair.partition("=") for rest in self.all("ENV") for pair in shlex.split(rest))
        return {name: value for name, _, value in pairs}

    @property
    def pip_arguments(self) -> list[str]:
        (line,) = (rest for rest in self.all("RUN") if rest.startswith(IMAGE_PIP))
        return shlex.split(line)[1:]

    @property
    def entry_point(self) -> list[str]:
        command: list[str] = json.loads(self.all("ENTRYPOINT")[-1])
        return command


def read_dockerfile(image: str) -> Dockerfile:
    text = (ROOT / image / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", text).splitlines()
    stated = (line.strip().partition(" ") for line in lines if line and not line.startswith("#"))
    return Dockerfile(tuple((word, " ".join(rest.split())) for word, _, rest in stated))


def let_through() -> Iterator[Path]:
    """The files of the repository that an image may be built from: .dockerignore's exceptions."""
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!"):
            path = ROOT / line[1:]
            yield from (path.rglob("*") if path.is_dir() else [path])


def rehearse(image: str, room: Path) -> None:
    dockerfile = read_dockerfile(image)
    _copy_sources(dockerfile, room / "build")
    venv.create(room / "venv", with_pip=True)
    _run(room, "pip", *dockerfile.pip_arguments, cwd=room / "build")
    _run(room, *dockerfile.entry_point, "--help", cwd=room, **dockerfile.environment)
    _run(room, "python", "-c", NO_TORCH, cwd=room)


NO_TORCH = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is not None)"


def _copy_sources(dockerfile: Dockerfile, target: Path) -> None:
    for path in let_through():
        name = path.relative_to(ROOT)
        if (
            path.is_file()
            and "__pycache__" not in name.parts
            and name.parts[0] in dockerfile.sources
        ):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(path.read_bytes())


def _run(room: Path, program: str, *arguments: str, cwd: Path, **environment: str) -> None:
    kept = {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
    command = [str(room / "venv/bin" / program), *arguments]
    subprocess.run(command, cwd=cwd, env=kept | environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def main() -> None:
    for image in sys.argv[1:] or IMAGES:
        with tempfile.TemporaryDirectory() as room:
            rehearse(image, Path(room))
        print(f"{image}: installed without torch, and its entry point starts")


if __name__ == "__main__":
    main()
