"""Schema migrations of the annotation store: one script per change in `versions/`, run when the store is opened."""
