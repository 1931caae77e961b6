"""Frames over HTTP: only from the media folder, cached for good."""

import pytest


def test_a_frame_is_served_and_kept_by_the_browser(client_for):
    answer = client_for().get("/media/e1/image_0/2.jpg")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]


def test_a_missing_frame_is_a_short_404(client_for):
    answer = client_for().get("/media/e1/image_0/9.jpg")
    assert (answer.status_code, answer.text) == (404, "e1 has no frame 9")


@pytest.mark.parametrize(
    "path",
    ["/media/elsewhere/cam/0.jpg", "/media/../studio.db", "/media/e1/..%2f..%2f..%2fstudio.db/0.jpg"]
    + [
        "/media/%2e%2e/studio.db",
        "/media/e1/cam/../../../studio.db",
        "/ui/../server.py",
        "/ui/..%2fserver.py",
        "/studio.db",
    ],
)
def test_nothing_else_can_be_read_through_it(client_for, path):
    answer = client_for().get(path)
    assert answer.status_code in (404, 422)
    assert "private" not in answer.text
    assert "create_app" not in answer.text
