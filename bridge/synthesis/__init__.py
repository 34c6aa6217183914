"""Synthesis: where the simulator and the DATASET meet (Sec. 4)."""
