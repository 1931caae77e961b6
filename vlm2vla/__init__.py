"""VLM2VLA: robot actions as language, from recorded episodes to a driving policy. Importing loads nothing heavy."""

__version__ = "0.1.0"
