"""Starts the studio: python app.py [--port 7860] [--workspace DIR]."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import tyro
import uvicorn

from vlm2vla.config import StudioConfig
from vlm2vla.errors import VLM2VLAError
from vlm2vla.workspace import Workspace


def main(config: StudioConfig, workspace: Path | None = None) -> None:
    """Serve the studio until Ctrl-C."""
    folder = Workspace.open(workspace)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported, so before ui.server
    os.environ["GRADIO_TEMP_DIR"] = str(folder.root / "tmp")
    from ui.server import ASSETS, create_app, log_to
    from vlm2vla.review.sample import open_sample

    config = replace(config, password=config.password or os.environ.get("VLM2VLA_PASSWORD", ""))
    log_to(folder)
    if config.sample:
        open_sample(ASSETS / "sample", folder)
    app = create_app(folder, config)
    sys.stderr.write(
        f"VLM2VLA Studio on http://{config.host}:{config.port} (workspace {folder.root}); Ctrl-C stops it\n"
    )
    uvicorn.run(
        app, host=config.host, port=config.port, workers=1, log_config=None, access_log=False, server_header=False
    )


if __name__ == "__main__":
    try:
        tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
    except VLM2VLAError as error:
        sys.exit(f"error: {error}")
