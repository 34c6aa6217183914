"""Evaluation: the protocols of the paper (Sec. 5), and what a report shows of them."""
