"""One script per schema change. A script is never edited after release."""
