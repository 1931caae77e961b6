"""The only door to vision-language models."""

from vlm2vla.vlm.protocol import VLM, Estimate, ImagePart, Usage, VLMAnswer, VLMRequest
from vlm2vla.vlm.scripted import ScriptedVLM

__all__ = ["VLM", "Estimate", "ImagePart", "ScriptedVLM", "Usage", "VLMAnswer", "VLMRequest"]
