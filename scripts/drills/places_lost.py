"""Drills of places that are gone: the store of the metadata, or what a consumer remembered."""

import shutil

from scripts.drills.yard import Yard, require
from scripts.keynote.password import new_password
from scripts.keynote.registry import RealRegistry


def lost_store(yard: Yard) -> None:
    """The directory of the metadata is gone: it is written anew from what a consumer has verified."""
    yard.found()
    yard.signs("1.4")
    consumer = yard.consumer
    consumer.sees("check", yard.collection, "--warn-before", "1s")  # as a monitor does: it keeps every role
    files = {path.name: path.read_bytes() for path in yard.store.glob("*.json")}
    shutil.rmtree(yard.store)
    yard.verifies("1.4", code=3, says="unreachable")
    yard.damage_is_done()
    consumer.does("publish", yard.collection, "--rebuild")
    yard.is_mended()
    rebuilt = {path.name: path.read_bytes() for path in yard.store.glob("*.json")}
    require(rebuilt.items() <= files.items(), "what was rebuilt is not what was there")
    yard.verifies("1.4")
    yard.signs("2.0")
    yard.verifies("2.0")


def lost_store_in_registry(yard: Yard) -> None:
    """The metadata was beside the images, and its repository is gone: a publisher that looked writes it anew."""
    password = new_password()
    registry = RealRegistry(yard.lab, yard.folder, {"builder": password})
    try:
        yard.host = registry.host
        _log_in(yard, password)
        yard.found(url="registry:")
        yard.publisher.does("push", f"oci:{yard.layout}:1.4", "--as", f"{yard.collection}web:1.4")
        yard.consumer.sees("verify", f"{yard.collection}web:1.4")
        yard.publisher.sees("check", yard.collection, "--warn-before", "1s")
        shutil.rmtree(yard.folder / "registry/docker/registry/v2/repositories/acme/trust-metadata")
        yard.consumer.sees("verify", f"{yard.collection}web:1.4", code=3, says="unreachable")
        yard.damage_is_done()
        yard.publisher.does("publish", yard.collection, "--rebuild")
        yard.is_mended()
        yard.consumer.sees("verify", f"{yard.collection}web:1.4")
        yard.publisher.does("push", f"oci:{yard.layout}:2.0", "--as", f"{yard.collection}web:2.0")
        yard.consumer.sees("verify", f"{yard.collection}web:2.0")
    finally:
        registry.stop()


def _log_in(yard: Yard, password: str) -> None:
    for machine in (yard.publisher, yard.consumer):
        machine.does("login", yard.host, "-u", "builder", "--password-stdin", stdin=password)


def lost_consumer_state(yard: Yard) -> None:
    """A consumer remembers nothing: it starts from its pin, or waits for a backup where the policy says so."""
    yard.found()
    yard.signs("1.4")
    yard.verifies("1.4")
    consumer, state = yard.consumer, yard.consumer.home / "state.db"
    backup = yard.folder / "backup.db"
    shutil.copy(state, backup)
    state.unlink()
    yard.damage_is_done()
    yard.verifies("1.4", says="first use")
    state.unlink()
    text = consumer.policy.read_text("utf-8")
    consumer.policy.write_text(text.replace("\nmetadata =", '\nfresh = "deny"\nmetadata =', 1), "utf-8")
    yard.verifies("1.4", code=1, says="no-first-use")
    shutil.copy(backup, state)
    consumer.edits('with fresh = "deny" alone: bring state.db of a backup, or of another consumer')
    yard.is_mended()
    yard.verifies("1.4")
    require("first use" not in consumer.sees("resolve", f"{yard.collection}web:1.4"), "the backup was not used")
