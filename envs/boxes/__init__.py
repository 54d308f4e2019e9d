"""Things to find in images: by a box in one answer, or by the moves of a box."""
