"""Every parser that takes bytes or text from outside, as a table of targets.

What only writes (EROFS images, lines of a crontab), and what reads what this program itself keeps in its database,
is none of them: ``tests/attacks/test_state.py`` damages that.
"""

from __future__ import annotations

from tests.fuzz.archives import ARCHIVES
from tests.fuzz.documents import DOCUMENTS
from tests.fuzz.files import FILES
from tests.fuzz.private import PRIVATE
from tests.fuzz.target import Target
from tests.fuzz.values import VALUES
from tests.fuzz.wire import WIRE

TARGETS: tuple[Target, ...] = (*VALUES, *DOCUMENTS, *FILES, *WIRE, *PRIVATE, *ARCHIVES)
BY_NAME = {target.name: target for target in TARGETS}
