"""Models from the Hugging Face hub (or a mirror of it), in the hub's own cache, so that other programs share them."""
