"""Base and adapters behind an OpenAI-compatible address, from the weights of this process."""

from vlm2vla.serving.app import ServeConfig, create_app, serve

__all__ = ["ServeConfig", "create_app", "serve"]
