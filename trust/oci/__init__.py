"""The doors to registries and layouts: HTTP, credentials, the distribution protocol, OCI layouts on disk."""
