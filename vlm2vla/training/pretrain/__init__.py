"""The embedded VLM from nothing: tokenizer, vision tower, language model, both joined, and the gate they must pass.

Reads a folder of labelled pictures (`Pictures`); knows no simulator and no robot. Imports nothing heavy.
"""
