"""For applications' own tests: a relay in memory, clients around it, a network that breaks, a clock to put forward.

    async with World() as world:
        await world.alice.send("bob", "hello")
        with world.network.partition("bob"):
            await world.alice.send("bob", "are you there?")
        async for event in world.bob.events():  # `Connected` and the like come too
            if isinstance(event, DirectMessage) and event.text == "are you there?":
                break
        await world.clock.advance(3600)

Clients and relay are the real ones, over real sockets of this machine; only their stores are in memory. With
``pytest_plugins = ["e2ee.testing.plugin"]`` in a ``conftest.py``, the fixture ``e2ee_world`` is a `World`, to be
entered: ``async with e2ee_world as world``. Such tests are coroutines: install ``pytest-asyncio``, or the like.
"""

from __future__ import annotations

from .clock import Clock
from .network import Network
from .world import World

__all__ = ["Clock", "Network", "World"]
