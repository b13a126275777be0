"""Annotation files, integrity checks and the Hub."""
