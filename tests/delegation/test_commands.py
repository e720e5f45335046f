"""The commands of delegation, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulators.command_line import Zygote
from tests.simulators.published import trust

HOST = "registry.test"
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
