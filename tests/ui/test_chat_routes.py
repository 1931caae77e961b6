"""The chat over HTTP: lines while answers are written, images in, exports out, and requests that make no sense."""

import io
import json
import re
import time
import zipfile

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.running import running
from ui.chat_routes import Sources, chat_router
from vlm2vla.chat import Chat
from vlm2vla.chat.speakers import RegisteredSpeakers
from vlm2vla.errors import ConfigError, ModelError
from vlm2vla.vlm.chat import Token
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.registry import ModelEntry, ModelRegistry
from vlm2vla.workspace import Workspace


class Echo:
    """Says the question again; "broken" fails after a word."""

    def entries(self):
        return [ModelEntry("base", "base", path="/somewhere"), ModelEntry("broken", "base", path="/somewhere")]

    def identity(self, name):
        return name

    def waking(self, name):
        return False

    def speak(self, conversations, sampling, stopped):
        for name, messages in conversations.items():
            for word in messages[-1].text.split():
                yield name, Token(word + " ", -0.25)
                if name == "broken":
                    yield name, ModelError("it broke")
                    break
            else:
                yield name, Token("", ended=True)
                yield name, None


@pytest.fixture
def client(tmp_path):
    def jpeg(episode, camera, step):
        data = io.BytesIO()
        Image.new("RGB", (32, 32), (step, 0, 0)).save(data, "JPEG")
        return data.getvalue()

    def chunks(models, count):
        yield from ({"model": name, "count": count} for name in models)

    app = FastAPI()
    chat = Chat(Workspace.open(tmp_path), Echo())
    app.include_router(chat_router(chat, Sources(jpeg, lambda: [{"text": "What is this?"}], chunks)))
    return TestClient(app)


def begin(client, *models, **more):
    return client.post("/chat/api/conversations", json={"models": list(models) or ["base"], **more}).json()["ok"]["id"]


def lines(response):
    return [json.loads(line) for line in response.text.splitlines()]


def test_a_question_is_answered_line_by_line(client):
    one = begin(client, "base", "broken")
    records = lines(client.post(f"/chat/api/conversations/{one}/ask", json={"text": "red cube"}))
    assert [record.get("text") for record in records if record.get("pane") == 0][:3] == [None, "red ", "cube "]
    assert records[-1]["answers"][0]["text"] == "red cube "
    assert records[-1]["answers"][1]["problem"] == "it broke"
    shown = client.get(f"/chat/api/conversations/{one}").json()["ok"]
    assert shown["exchanges"][0]["text"] == "red cube"


def test_trouble_is_the_last_line_or_the_answer(client):
    one = begin(client)
    assert "question" in lines(client.post(f"/chat/api/conversations/{one}/ask", json={"text": "  "}))[-1]["error"]
    assert "no conversation" in client.get("/chat/api/conversations/00000000").json()["error"]
    for body in (b"no json", b"{}", b'{"models": []}', b'{"models": ["base"], "colour": 1}'):
        response = client.post("/chat/api/conversations", content=body)
        assert (response.status_code, "reload" in response.json()["error"]) == (422, True)


def test_images_come_by_upload_or_from_an_episode_and_are_served(client):
    data = io.BytesIO()
    Image.new("RGB", (32, 32), (0, 90, 0)).save(data, "PNG")
    first = client.post("/chat/api/images", content=data.getvalue()).json()["ok"]
    frame = {"episode": "e", "camera": "external", "step": 3}
    second = client.post("/chat/api/images/frame", json=frame).json()["ok"]
    assert first != second
    assert client.get(f"/chat/images/{first}.jpg").content[:2] == b"\xff\xd8"
    assert "no image" in client.post("/chat/api/images", content=b"plain text").json()["error"]
    assert client.get("/chat/images/nothing.jpg").status_code == 404


def test_export_search_vote_and_forget(client):
    one = begin(client, "base", "broken", blind=True)
    client.post(f"/chat/api/conversations/{one}/ask", json={"text": "green ball"})
    assert client.get(f"/chat/api/conversations/{one}/export.md").status_code == 409
    voted = client.post(f"/chat/api/conversations/{one}/vote", json={"exchange": 0, "choice": "tie"}).json()
    assert voted["ok"]["exchanges"][0]["vote"] == "tie"
    client.post(f"/chat/api/conversations/{one}/reveal")
    export = client.get(f"/chat/api/conversations/{one}/export.md")
    assert "green ball" in export.text
    assert "attachment" in export.headers["content-disposition"]
    assert client.get(f"/chat/api/conversations/{one}/export.exe").status_code == 404
    assert client.get("/chat/api/conversations", params={"q": "green"}).json()["ok"][0]["id"] == one
    client.post(f"/chat/api/conversations/{one}/delete")
    assert client.get("/chat/api/conversations", params={"q": "green"}).json()["ok"] == []


def test_an_export_with_images_has_every_file_that_it_names(client):
    one = begin(client, "base")
    data = io.BytesIO()
    Image.new("RGB", (32, 32), "green").save(data, "PNG")
    kept = client.post("/chat/api/images", content=data.getvalue()).json()["ok"]
    client.post(f"/chat/api/conversations/{one}/ask", json={"text": "green ball", "images": [kept]})
    export = client.get(f"/chat/api/conversations/{one}/export.zip")
    with zipfile.ZipFile(io.BytesIO(export.content)) as archive:
        named = re.findall(r"!\[image\]\((.+?)\)", archive.read("conversation.md").decode())
        assert named == [f"images/{kept}.jpg"]
        assert archive.read(named[0]) == client.get(f"/chat/images/{kept}.jpg").content
        assert json.loads(archive.read("conversation.json"))["exchanges"][0]["images"] == [kept]


def test_models_are_added_checked_and_removed_over_http(tmp_path, tiny_folder):
    workspace = Workspace.open(tmp_path)
    registry = ModelRegistry(workspace, shipped=tmp_path)
    app = FastAPI()
    chat = Chat(workspace, RegisteredSpeakers(registry, LocalModels(registry)))
    app.include_router(chat_router(chat, Sources(lambda *_: b"", list, lambda *_: iter(()))))
    client = TestClient(app)
    wrong = client.post("/chat/api/models", json={"name": "tiny", "where": str(tmp_path)}).json()
    assert "holds no model" in wrong["error"]
    body = {"name": "tiny", "where": str(tiny_folder / "base"), "actions": "tokens"}
    added = client.post("/chat/api/models", json=body).json()["ok"]
    assert (added["name"], added["kind"], added["local"], added["actions"]) == ("tiny", "base", True, "tokens")
    assert client.post("/chat/api/models", json=body | {"name": "b", "actions": "dance"}).status_code == 422
    assert client.post("/chat/api/models/tiny/check").json()["ok"]["problems"] == []
    assert "ok" in client.post("/chat/api/models/tiny/remove").json()
    assert client.get("/chat/api/models").json()["ok"] == []


def test_menus_and_the_lens_over_chunks(client):
    assert [row["name"] for row in client.get("/chat/api/models").json()["ok"]] == ["base", "broken"]
    assert client.get("/chat/api/examples").json()["ok"] == [{"text": "What is this?"}]
    rows = lines(client.post("/chat/api/lens/chunks", json={"models": ["base", "lora"], "count": 3}))
    assert rows == [{"model": "base", "count": 3}, {"model": "lora", "count": 3}]


def test_a_reader_that_goes_away_ends_the_answer_and_frees_the_conversation(tmp_path):
    class Talker(Echo):
        def speak(self, conversations, sampling, stopped):
            for number in range(10_000):
                if stopped.wait(0.002):
                    break
                yield "base", Token(f"{number} ", -0.1)
            yield "base", None

    chat = Chat(Workspace.open(tmp_path), Talker())
    app = FastAPI()
    app.include_router(chat_router(chat, Sources(lambda *_: b"", list, lambda *_: iter(()))))
    with running(app) as address:
        one = chat.new(["base"])["id"]
        url = f"{address}/chat/api/conversations/{one}/ask"
        with httpx.stream("POST", url, json={"text": "talk"}) as response:
            next(line for line in response.iter_lines() if "text" in line)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            try:
                assert chat.change(one, name="free again")["name"] == "free again"
                break
            except ConfigError:
                time.sleep(0.02)
        assert chat.open(one)["name"] == "free again"
        assert chat.open(one)["exchanges"][0]["answers"][0]["end"] == "stopped"
