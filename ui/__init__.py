"""The studio: a leaf that shows and calls, and owns no logic of its own. Delete it and the library still works."""
