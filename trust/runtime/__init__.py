"""The minimal runtime: from an ``Allowed`` verdict to a running container, and never from a tag."""
