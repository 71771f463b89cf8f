"""The fault corpus of `stackctl doctor`: real stacks broken in exactly one way, and what must be said of each."""
