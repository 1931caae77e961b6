"""Episode -> AnnotatedEpisode: annotators, checks, edits, and the store with revisions."""
