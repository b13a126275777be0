"""A run on disk: its folder, stores, settings, lock, status and samples."""
