"""Drills of keys that somebody else has: what he signs must end, and what he has signed must go."""

from scripts.drills.machine import PASSPHRASE
from scripts.drills.thief import LAST_VERSION, count_up, steal
from scripts.drills.yard import Yard, next_second, require


def stolen_targets_key(yard: Yard) -> None:
    """A thief has a pipeline's keys (targets and online), and moves a tag to his image."""
    yard.found()
    yard.signs("1.4")
    yard.verifies("1.4")
    publisher, thief = yard.publisher, yard.machine("thief")
    steal(publisher, thief)
    thief.key_file("root").unlink()  # that one was elsewhere
    since = next_second()
    yard.signs("1.4", by=thief, image="evil")
    yard.verifies("1.4", image="evil")  # consumers believe it: the keys were good
    yard.damage_is_done()
    for name in ("targets-2", "online-2"):
        publisher.does("key", "generate", name)
    publisher.does("rotate", yard.collection, "online", "--add", "online-2", "--stolen", "online")
    publisher.does("rotate", yard.collection, "targets", "--add", "targets-2", "--stolen", "targets")
    publisher.does("revoke", yard.collection, "--signed-by", "targets", "--since", since)
    yard.signs("1.4")
    yard.is_mended()
    yard.verifies("1.4", image="evil", code=1, says="tag-moved")
    yard.verifies("1.4")
    yard.consumer.sees("verify", f"{yard.collection}web@{yard.digests['evil']}", code=1, says="revoked")
    yard.signs("3.0", by=thief, code=3)
    yard.verifies("3.0", code=1, says="unsigned")


def stolen_online_key(yard: Yard) -> None:
    """A thief has the online key, and counts versions up to 2^31-1: nobody could ever publish above them."""
    yard.found()
    publisher = yard.publisher
    publisher.does("delegate", "add", yard.collection, "acme.web", "--paths", "acme/web", "--key", "team")
    yard.signs("1.4")
    yard.verifies("1.4")
    pem = publisher.sees("key", "export", "online", "--private").encode()
    count_up(yard.store, pem, PASSPHRASE, "acme.web")
    yard.verifies("1.4", code=3)
    yard.signs("2.0", code=3)
    yard.damage_is_done()
    publisher.does("key", "generate", "online-2")
    publisher.does("rotate", yard.collection, "online", "--add", "online-2", "--stolen", "online")
    yard.is_mended()
    yard.verifies("1.4")
    yard.signs("2.0")
    yard.verifies("2.0")
    versions = {role["role"]: role["version"] for role in publisher.document("inspect", yard.collection)["roles"]}
    require(max(versions.values()) < LAST_VERSION, f"versions were not reset: {versions}")
