"""Delegated roles in a legitimate world, with keys of their own and bins where asked for; and their rotation."""

from __future__ import annotations

from collections.abc import Iterable

from securesystemslib.signer import CryptoSigner

from tests.simulators.attacker import Keys, strangers
from tests.simulators.world import ONLINE, World
from trust.delegations import Bins, Delegation, Delegations, expanded
from trust.draft import Changes
from trust.loaded import Loaded
from trust.published import Published
from trust.rotate import Rotation, rotate
from trust.targets import Content, Table
from trust.value import replace

WEB_ROLE = "acme.web"


def delegate(
    world: World,
    name: str = WEB_ROLE,
    paths: str = "acme/web",
    keys: Keys | None = None,
    *,
    delegator: str = "targets",
    threshold: int = 1,
    bins: int = 0,
) -> None:
    """Delegate ``paths``, of which nothing is signed yet, to the role ``name``."""
    world.keys[name] = strangers() if keys is None else keys
    keyids = tuple(key.public_key.keyid for key in world.keys[name])
    spelled = {key.public_key.keyid: {"keyid": key.public_key.keyid, **key.public_key.to_dict()}
               for key in world.keys[name]}  # fmt: skip
    nothing = Table(targets={}, revoked={})

    def change(loaded: Loaded) -> Changes:
        above = loaded.find(delegator).content
        entry = Delegation(name=name, patterns=expanded(paths), keyids=keyids, threshold=threshold)
        theirs = replace(
            above.delegations, roles=(*above.delegations.roles, entry), keys={**above.delegations.keys, **spelled}
        )
        own = Delegations()
        contents = {}
        if bins:
            own = Delegations(
                bins=Bins(prefix=f"{name}.g1", count=bins, keyids=keyids, threshold=threshold), keys=spelled
            )
            assert own.bins is not None
            contents = {each: Content(table=nothing) for each in own.bins.names()}
        return Changes(
            contents={
                delegator: replace(above, delegations=theirs), name: Content(table=nothing, delegations=own),
                **contents,
            }
        )  # fmt: skip

    world.publish(lambda publisher: publisher.publish(change))


def bin_targets(world: World, count: int) -> None:
    """Have everything that the role targets says of images in ``count`` bins; nothing is signed yet."""
    keys = world.keys["targets"]
    spelled = {key.public_key.keyid: {"keyid": key.public_key.keyid, **key.public_key.to_dict()} for key in keys}
    bins = Bins(prefix="targets.g1", count=count, keyids=ids(keys), threshold=1)
    nothing = Content(table=Table(targets={}, revoked={}))
    contents = dict.fromkeys(bins.names(), nothing)
    contents["targets"] = replace(nothing, delegations=Delegations(bins=bins, keys=spelled))
    world.publish(lambda publisher: publisher.publish(lambda _loaded: Changes(contents=contents)))


def ids(keys: Keys) -> tuple[str, ...]:
    """Return the key ids of ``keys``."""
    return tuple(key.public_key.keyid for key in keys)


def roles_of(role: str) -> tuple[str, ...]:
    """Return the roles that ``role`` stands for on the command line."""
    return ONLINE if role == "online" else (role,)


def change_keys(
    world: World,
    role: str,
    *,
    add: Keys | None = None,
    remove: Keys | None = None,
    stolen: Keys | None = None,
    threshold: int | None = None,
    dry_run: bool = False,
) -> Published:
    """Rotate ``role`` by a publisher who has every key, old and new; from then on the new ones are the role's."""
    rotation = Rotation(
        role=role,
        add=tuple(key.public_key for key in add or ()),
        remove=ids(remove or []),
        stolen=ids(stolen or []),
        threshold=threshold,
    )
    world.keys["added"] = [*world.keys.get("added", []), *(add or [])]
    done = world.publish(lambda publisher: rotate(replace(publisher, dry_run=dry_run), rotation))
    if not dry_run:
        for name in roles_of(role):
            world.keys[name] = list(_after(world.keys[name], {*ids(remove or []), *ids(stolen or [])}, add or []))
    return done


def _after(before: Keys, gone: set[str], add: Keys) -> Iterable[CryptoSigner]:
    every = {key.public_key.keyid: key for key in [*before, *add]}
    return (key for keyid, key in every.items() if keyid not in gone)
