"""The page's own files: quick to ask for again, nothing outside their folder, no worker needed."""

import pytest


@pytest.mark.parametrize(
    ("path", "kind"), [("drive.js", "javascript"), ("style.css", "text/css"), ("logo.svg", "image/svg+xml")]
)
def test_files_come_with_their_type_and_are_not_sent_twice(client_for, path, kind):
    client = client_for()
    first = client.get(f"/ui/{path}")
    assert first.status_code == 200
    assert kind in first.headers["content-type"]
    again = client.get(f"/ui/{path}", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize("path", ["../server.py", "%2e%2e/server.py", "..%2fserver.py", "nothing.js", ""])
def test_nothing_else_is_served(client_for, path):
    assert client_for().get(f"/ui/{path}").status_code in (404, 405)
