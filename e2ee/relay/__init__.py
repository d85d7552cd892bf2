"""The relay: keeps mail for devices until they take it, and can read none of it.

`core` is the conversation without sockets, `server` puts it behind WebSockets. Nothing here loads what decrypts.
"""
