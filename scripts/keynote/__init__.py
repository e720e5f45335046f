"""The compromised update: Docker's DockerCon 2015 keynote on content trust, played again with real parts.

A registry with a password, keys, the ``trust`` command line, an OCI runtime and a web application are started on
this machine's loopback; nothing is pretended. ``lab`` finds the parts, ``stage`` starts them, ``acts`` plays,
``narration`` tells it on a terminal, ``report`` as a page.
"""
