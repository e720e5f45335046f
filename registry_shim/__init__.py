"""The registry shim: an HTTP registry that lets only verified content through; not built in this version."""
