"""What every test has: a workspace of its own, no paid calls, the sample data where it is present."""

import importlib.util
from pathlib import Path

import pytest

from vlm2vla.workspace import DATABASE_VARIABLE, HOME_VARIABLE, Workspace

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's own workspace, and no test can reach a paid model."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.setenv("VLM2VLA_LOCAL_MODELS_ONLY", "1")
    for key in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def gemini_server(monkeypatch):
    """A server on this computer that speaks the Gemini REST API; the SDK is pointed at it."""
    path = Path(__file__).with_name("vlm") / "gemini_server.py"
    spec = importlib.util.spec_from_file_location("gemini_server", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.GeminiServer() as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("GEMINI_API_KEY", "test")
        yield server


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """Tiny models with random weights, laid out like assets/models: base, lora, full."""
    from tests.vlm.tiny_model import make_adapter, make_base, make_checkpoint

    folder = tmp_path_factory.mktemp("models")
    base = make_base(folder / "base")
    make_adapter(base, folder / "lora")
    make_checkpoint(base, folder / "full")
    return folder


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real sample data beside the checkout; tests that need it are skipped without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"sample data not present: {SHARED_DATA}")
    return SHARED_DATA
