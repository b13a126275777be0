"""Makes the embedded demo: draws its data, trains its checkpoint, measures what it can detect. Not in the wheel."""
