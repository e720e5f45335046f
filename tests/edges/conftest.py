"""A layout of each test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from trust.oci.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "layout")
