"""What is built: a wheel that runs on its own, an sdist that holds what README and tests use."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import evalkit
from tests.conftest import REPO

DEVELOPMENT = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "constraints.txt")


def sources(*folders: str) -> set[str]:
    """Return the files under some folders that git does not ignore, relative to the repository; without git, all."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False).stdout.splitlines()
    paths = [REPO / name for name in listed] or [path for folder in folders for path in (REPO / folder).rglob("*")]
    return {path.relative_to(REPO).as_posix() for path in paths if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("evalkit_vlm-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_package_tasks_cards_and_the_demo(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    places = {"tasks/": "evalkit/_tasks/", "configs/": "evalkit/_configs/"}
    expected = sources("evalkit", "tasks", "configs")
    for folder, place in places.items():
        expected = {name.replace(folder, place, 1) if name.startswith(folder) else name for name in expected}
    assert names == expected
    assert {"evalkit/demo/data.tar.xz", "evalkit/demo/checkpoint/model.safetensors"} <= names
    assert {name for name in names if name.startswith("evalkit/demo/") and name.endswith(".py")} == {
        "evalkit/demo/__init__.py"
    }
    assert sum(item.file_size for item in wheel.infolist()) < 11_000_000


def test_the_metadata(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    assert (metadata["Name"], metadata["Version"]) == ("evalkit-vlm", evalkit.__version__)
    assert set(metadata.get_all("Provides-Extra", [])) == {"run", "hub", "all", "dev"}
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    heavy = ("torch", "transformers", "safetensors", "decord", "datasets")
    assert required and not [line for line in required if line.startswith(heavy)]
    assert metadata["Keywords"] and len(metadata.get_all("Classifier", [])) > 8
    assert b"evalkit = evalkit.cli.main:entry" in wheel.read(name.replace("METADATA", "entry_points.txt"))


def test_the_sdist_holds_what_readme_and_tests_use(built: Path) -> None:
    (path,) = built.glob("evalkit_vlm-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("configs", "docs", "evalkit", "results", "scripts", "tasks", "tests")
    assert sources(*folders) | {*DEVELOPMENT, "pyproject.toml", ".ci/run"} <= names
