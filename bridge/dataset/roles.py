"""What an image is for: roles in training (Sec. 4) and in the evaluation (Sec. 5).

A role is not a split: one image may have several, and of most images of a split none is used.
"""

from __future__ import annotations

TRAIN = "train"
VALIDATION = "validation"
QUERY = "query"
DATABASE = "database"
DATABASE_PER_LEVEL = "database_per_level"
"""An image for every blur level that a database trajectory has (the database of Table 4)."""
DISTRACTOR = "distractor"
"""An image of none of the queries' objects, there to be confused with theirs."""
