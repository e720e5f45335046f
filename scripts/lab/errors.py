"""What set-up says when it cannot go on.

SetupFailed
├── (exit 1) something that should have worked did not: network, disk, a broken package
└── (exit 2) this machine lacks what set-up needs, and the hint names it
"""


class SetupFailed(Exception):  # noqa: N818 - it is the outcome, not an error family
    """Set-up ended without its promise; ``hint`` is the safe next step, ``exit_code`` 1 or 2 (see module)."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code
