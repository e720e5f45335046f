"""The ways back of docs/recovery.md, each gone for real: the command line, stores, keys, and a registry."""
