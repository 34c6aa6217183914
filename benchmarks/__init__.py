"""Measurements that anyone can repeat; each file is a command of its own."""
