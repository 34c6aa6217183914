"""The INDEX: its folder, its types, and searching it."""
