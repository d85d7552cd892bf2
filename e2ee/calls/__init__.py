"""The calls of `e2ee.Client`, by subject: groups, channels, people and devices; what is sent, how events are read."""
