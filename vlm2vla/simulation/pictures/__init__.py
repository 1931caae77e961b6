"""Labelled pictures of scenes at moments of an episode, with questions: what the embedded model is pretrained on."""
