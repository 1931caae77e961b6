"""How Gradio's own parts look, so that they match `assets/style.css`; system fonts only, nothing from the network."""

import gradio as gr

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

# Before the first paint: the style sheet, and the theme chosen last time, so that nothing flashes.
HEAD = """
<link rel="stylesheet" href="/ui/style.css">
<link rel="icon" href="/ui/logo.svg" type="image/svg+xml">
<script>
  document.documentElement.classList.toggle("vs-dark", localStorage.getItem("vlm2vla.theme") === "dark");
</script>
"""


def make_theme() -> gr.themes.Base:
    """The studio's Gradio theme: indigo accent, slate greys, small radii."""
    return gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="sm",
        spacing_size="sm",
        text_size="sm",
        font=list(SANS),
        font_mono=list(MONO),
    )
