"""Drills of keys that are gone: nobody else has them, so nothing has to be revoked."""

from pathlib import Path

from scripts.drills.yard import Yard, require

THREE_ROOTS = ("--root-key", "root-a", "--root-key", "root-b", "--root-key", "root-c", "--root-threshold", "2")


def lost_online_key(yard: Yard) -> None:
    """The key of snapshot and timestamp is gone: another takes its place, by the root key."""
    yard.found()
    yard.signs("1.4")
    yard.verifies("1.4")
    publisher = yard.publisher
    keyid = publisher.keyid("online")
    publisher.key_file("online").unlink()
    yard.signs("2.0", code=5)  # it waits for an online key
    yard.verifies("1.4")  # until the timestamp expires
    yard.damage_is_done()
    publisher.does("key", "generate", "online-2")
    publisher.does("rotate", yard.collection, "online", "--remove", keyid, "--add", "online-2")
    yard.is_mended()
    yard.verifies("1.4")
    yard.signs("2.0")
    yard.verifies("2.0")


def lost_root_key(yard: Yard) -> None:
    """One of three root keys is gone, two must sign: the others name another."""
    yard.found(*THREE_ROOTS)
    yard.signs("1.4")
    yard.verifies("1.4")
    publisher = yard.publisher
    keyid = publisher.keyid("root-c")
    publisher.key_file("root-c").unlink()
    yard.damage_is_done()
    publisher.does("key", "generate", "root-d")
    publisher.does("rotate", yard.collection, "root", "--remove", keyid, "--add", "root-d")
    yard.is_mended()
    yard.verifies("1.4")
    root = next(role for role in publisher.document("inspect", yard.collection)["roles"] if role["role"] == "root")
    require(keyid not in root["keys"], "the lost key is still a root key")
    require(publisher.keyid("root-d") in root["keys"], "the new key is no root key")
    publisher.does("renew", yard.collection, "root")
    yard.verifies("1.4")


def lost_root_keys(yard: Yard) -> None:
    """Two of three root keys are gone, two must sign: nobody can name others, only a new collection can."""
    yard.found(*THREE_ROOTS)
    yard.signs("1.4")
    yard.verifies("1.4")
    publisher, consumer = yard.publisher, yard.consumer
    for name in ("root-b", "root-c"):
        publisher.key_file(name).unlink()
    publisher.does("key", "generate", "root-d")
    publisher.does("rotate", yard.collection, "root", "--add", "root-d", code=5)  # and waits for ever
    yard.signs("2.0")  # all else goes on, until the root expires: there is time to move
    yard.verifies("2.0")
    yard.damage_is_done()
    signed = publisher.document("list", yard.collection)["tags"]
    again = yard.machine("publisher-2")  # a new home: keys of the old collection serve no other
    again.is_counted = True
    there = Path(f"{yard.store}-2")
    again.does("init", yard.collection, "--metadata", f"file:{there}", "--write-policy", *THREE_ROOTS)
    for entry in signed:
        layout = f"oci:{yard.layout}:{entry['tag']}"
        again.does("sign", layout, "--as", f"{yard.host}/{entry['repository']}:{entry['tag']}")
    yard.verifies("2.0")  # by the old pin, as long as it lives
    consumer.policy.write_text(again.policy.read_text("utf-8"), "utf-8")
    consumer.edits("replace the collection's stanza in the policy: new root, new metadata")
    yard.is_mended()
    for tag in ("1.4", "2.0"):
        yard.verifies(tag)
    yard.signs("2.0", image="evil")  # the old collection speaks to nobody any more
    yard.verifies("2.0")
