"""The studio's components: gr.HTML subclasses whose look and behaviour are static files, without a build step.

A component draws into its element with a JavaScript module of `ui/static` and asks the server through server functions.
Its value is never set from Python, so the page keeps its place while answers arrive. Knows nothing of episodes.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr


class Panel(gr.HTML):
    """One region of the page, drawn by a module.

    Args:
        module: File name in `ui/static`, without ".js".
        mount: The function in it that draws; called with the element and the server functions.
        server_functions: What the module may ask the server.
    """

    EVENTS: list[Any] = []

    def __init__(self, module: str, mount: str, server_functions: list[Callable] | None = None):
        start = f"import('/ui/{module}.js').then((m) => m.{mount}(element.querySelector('.vs-mount'), server))"
        super().__init__(
            "",
            html_template="<div class='vs-mount'></div>",
            js_on_load=f"{start}.catch((error) => console.error(error));",
            apply_default_css=False,
            server_functions=server_functions,
            elem_id=f"vs-{module}",
            elem_classes="vs-panel",
        )


class Header(Panel):
    """The bar above the tabs: name of the reviewer, workspace, light and dark."""

    EVENTS: list[Any] = []

    def __init__(self, server_functions: list[Callable] | None = None):
        super().__init__("header", "mountHeader", server_functions)


class Queue(Panel):
    """The episodes to review, with filters and progress."""

    EVENTS: list[Any] = []

    def __init__(self, server_functions: list[Callable] | None = None):
        super().__init__("queue", "mountQueue", server_functions)


class Stage(Panel):
    """Player, path in three dimensions and timeline: one component, so that the playhead is in step with the frame."""

    EVENTS: list[Any] = []

    def __init__(self, server_functions: list[Callable] | None = None):
        super().__init__("stage", "mountStage", server_functions)


class Inspector(Panel):
    """The selected subtask, its plan and its action rows."""

    EVENTS: list[Any] = []

    def __init__(self, server_functions: list[Callable] | None = None):
        super().__init__("inspector", "mountInspector", server_functions)
