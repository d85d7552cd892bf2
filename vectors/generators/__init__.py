"""What makes our own vectors, one module for each kind. Everything random comes from named seeds."""
