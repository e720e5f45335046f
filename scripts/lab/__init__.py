"""Set-up of a checkout: real components under ``.lab/``, Python packages under ``.venv/``, nothing elsewhere.

It runs on the machine's own Python (3.10 or newer) with nothing but the standard library, as root and as an
ordinary user. It never installs on the machine, never names a mirror or an index (apt and pip are asked with
the machine's and the user's own configuration), and never reads the clock for a decision.

1. ``__main__`` takes the lock of the checkout and finds out what is missing.
2. ``base_status``, ``apt`` and ``unpacked`` fetch Debian packages with a private apt state and unpack them.
3. ``venv`` and ``pip_source`` make the virtual environment from the hashed lock; ``project`` makes the project
   importable in it.
4. ``wrappers`` writes ``.lab/bin`` and, last, ``.lab/env.json``.
"""
