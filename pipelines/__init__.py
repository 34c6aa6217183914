"""Commands: read the arguments, run a stage, show its progress."""
