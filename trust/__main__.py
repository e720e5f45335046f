"""``python -m trust`` is the command line."""

from trust.start import main

main()
