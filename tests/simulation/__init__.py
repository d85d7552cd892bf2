"""Clients, relay and their stores in one process, through the sans-I/O layers, under faults drawn from a seed."""
