"""What a person does on the Drive page with typed words."""

from playwright.sync_api import Page, expect


def say(page: Page, text: str, mode: str = "Step") -> None:
    """Drive with typed words."""
    page.get_by_label("Policy", exact=True).select_option("typed")
    page.get_by_role("group", name="Mode").get_by_role("button", name=mode).click()
    page.get_by_label("Instruction", exact=True).fill(text)
    page.get_by_role("button", name="Start Enter").click()


def yes(page: Page) -> None:
    """Approve as soon as the page takes a yes: not in the first moment, when a key may be meant for something else."""
    expect(page.get_by_role("button", name="Approve")).to_be_enabled()
    page.keyboard.press("Enter")


def state(page: Page, name: str) -> None:
    """Wait until the run is in this state."""
    expect(page.locator(".vs-run-state")).to_have_attribute("data-state", name)


def rows(page: Page, kind: str = ""):
    return page.locator(f".vs-cycle[open] .vs-chunk-row{kind}")
