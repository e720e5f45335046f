"""``python -m trust`` is the command line."""

from trust.cli import main

main()
