"""Samples to weights: pretraining of the embedded model, and fine-tuning of any VLM."""
