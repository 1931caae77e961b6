"""Forms are found by name and by configuration."""

import pytest

from vlm2vla.config import LanguageConfig
from vlm2vla.errors import ConfigError
from vlm2vla.language import form, make_form


@pytest.mark.parametrize(
    ("kind", "name", "rotation"),
    [
        ("rows", "rows:0.5cm", False),
        ("rows7", "rows7:0.5cm:1deg", True),
        ("sentence", "sentence:0.5cm", False),
        ("sentence7", "sentence7:0.5cm:1deg", True),
        ("tokens", "tokens:0.5cm", False),
    ],
)
def test_every_configured_form_has_a_name_that_makes_it_again(kind, name, rotation):
    made = make_form(LanguageConfig(form=kind))
    assert made.name == name
    assert made.rotation is rotation
    assert form(name) == made


def test_the_resolution_is_part_of_the_name():
    made = make_form(LanguageConfig(form="rows7", resolution_cm=0.25, resolution_deg=5))
    assert made.name == "rows7:0.25cm:5deg"
    assert form(made.name).name == made.name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("row:0.5cm", "did you mean 'rows'"),
        ("sentense:1cm", "did you mean 'sentence'"),
        ("rows:0.5", "did you mean 'rows:0.5cm'"),
        ("rows:xcm", "did you mean 'rows:0.5cm'"),
        ("rows7:0.5cm", "did you mean 'rows7:0.5cm:1deg'"),
        ("rows:0.5cm:1deg", "did you mean 'rows:0.5cm'"),
        ("rows:nancm", "did you mean"),
        ("rows:0cm", "resolution"),
        ("rows:infcm", "resolution"),
        ("rows:0.125cm", "multiple of 0.01"),
        ("rows:101cm", "at most 100"),
        ("", "known"),
    ],
)
def test_a_wrong_name_is_refused_with_a_hint(name, hint):
    with pytest.raises(ConfigError, match=hint):
        form(name)


@pytest.mark.parametrize("kind", ["rows", "rows7", "sentence7", "tokens"])
def test_a_kind_alone_is_that_kind_at_the_usual_resolution(kind):
    assert form(kind) == make_form(LanguageConfig(form=kind))


def test_a_resolution_that_cannot_be_written_is_refused():
    with pytest.raises(ConfigError, match="0.333"):
        make_form(LanguageConfig(resolution_cm=1 / 3))
