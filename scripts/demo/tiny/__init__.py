"""Parts of the training of the demo's tiny model."""
