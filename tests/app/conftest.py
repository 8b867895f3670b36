from __future__ import annotations

import sys
from pathlib import Path

import pytest
from small_place import make_place

from head_atlas.app.engine import Engine
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits

sys.path.insert(0, str(Path(__file__).parents[1] / "views"))


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("served") / "small")


@pytest.fixture(scope="session")
def library(place):
    return Library.of(str(place))


@pytest.fixture(scope="session")
def engine(library):
    return Engine(library, Limits())
