"""Which servers may be asked: with VLM2VLA_LOCAL_MODELS_ONLY=1 only those on this computer."""

import ipaddress
import os
from urllib.parse import urlsplit

from vlm2vla.errors import ConfigError

LOCAL_ONLY_VARIABLE = "VLM2VLA_LOCAL_MODELS_ONLY"


def is_loopback(url: str) -> bool:
    """Is the address this computer itself?"""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_elsewhere(url: str, hint: str) -> None:
    """Let only addresses of this computer pass while only those are allowed.

    Raises:
        ConfigError: The address is elsewhere; the message ends with `hint`.
    """
    if os.environ.get(LOCAL_ONLY_VARIABLE) == "1" and not is_loopback(url):
        raise ConfigError(
            f"{LOCAL_ONLY_VARIABLE}=1 allows only models on this computer, not {urlsplit(url).netloc}; "
            f"unset it, or {hint}"
        )
