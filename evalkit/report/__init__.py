"""Output for readers: tables, comparisons, plots, reports."""
