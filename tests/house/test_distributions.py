"""The four distributions: never uploaded, bounded on both sides, and agreed among themselves."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

import pytest
from packaging.requirements import Requirement

from tests.house.tree import PACKAGES, ROOT, manifest


def requirements() -> Iterator[tuple[str, Requirement]]:
    """Every requirement of the house with the file that states it."""
    for folder in (*PACKAGES.values(), ROOT):
        stated = manifest(folder)
        project = stated.get("project", {})
        lines = chain(
            stated.get("build-system", {}).get("requires", []),
            project.get("dependencies", []),
            *project.get("optional-dependencies", {}).values(),
            *stated.get("dependency-groups", {}).values(),
        )
        yield from ((f"{folder.name}/pyproject.toml", Requirement(line)) for line in lines)


@pytest.mark.parametrize(("file", "requirement"), list(requirements()), ids=str)
def test_a_requirement_has_a_lower_and_an_upper_bound(file: str, requirement: Requirement):
    operators = {specifier.operator for specifier in requirement.specifier}

    assert operators == {">=", "<"}, f"{file}: {requirement}"


def test_distributions_agree_on_what_they_share():
    bounds = defaultdict(set)
    for _, requirement in requirements():
        bounds[requirement.name].add(str(requirement.specifier))

    assert {name: said for name, said in bounds.items() if len(said) > 1} == {}


@pytest.mark.parametrize(("package", "folder"), PACKAGES.items())
def test_a_distribution_is_private_and_prefixed(package: str, folder):
    project = manifest(folder)["project"]

    assert project["name"] == f"reunite-{package.replace('_', '-')}"
    assert "Private :: Do Not Upload" in project["classifiers"]
    assert (folder / package / "py.typed").is_file()


def test_all_distributions_carry_one_version():
    assert len({manifest(folder)["project"]["version"] for folder in PACKAGES.values()}) == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_no_distribution_needs_torch_to_serve(package: str):
    serving = manifest(PACKAGES[package])["project"]["dependencies"]

    assert not {Requirement(line).name for line in serving} & {"torch", "torchvision", "grad-cam"}
