"""What the commands do, above runs and reports."""
