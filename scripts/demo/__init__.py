"""Makes the embedded demo: draws its data, trains its checkpoint, measures the faults it detects. Not in the wheel."""
