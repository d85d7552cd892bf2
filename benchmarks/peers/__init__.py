"""Who is measured: one module for each library, and one for the bare primitives."""
