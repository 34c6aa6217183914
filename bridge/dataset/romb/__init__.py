"""The published ROMB data: its files, statistics and selections, as they lie in folders or zips."""
