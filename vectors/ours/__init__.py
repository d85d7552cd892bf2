"""What drives `ratchet` by the vectors: its objects made from what a vector says, and taken through its steps."""
