from importlib.metadata import version

import pytest

pytest.importorskip(
    "stretch_body.cobbs_framing", reason="the tests on emulated boards need stretch_body: run make test-robot"
)


def test_stretch_body_is_the_version_that_its_pitfalls_were_read_in():
    assert version("hello-robot-stretch-body") == "0.7.31"
