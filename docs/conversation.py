"""Two people, one session: the example of the README, run by the tests as it stands."""

from ratchet import Account, Session

alice, bob = Account.create(), Account.create()

session = Session.initiate(alice, bob.bundle())
bobs_session, plaintext = Session.accept(bob, session.encrypt(b"hello bob"))
print("bob reads:  ", plaintext.decode())

session = Session.from_bytes(session.to_bytes())  # stored and loaded between any two messages
answer = session.decrypt(alice, bobs_session.encrypt(b"hello alice"))
print("alice reads:", answer.decode())
