import stat

import pytest

from vlm2vla.errors import ConfigError
from vlm2vla.robot.link import make_keys
from vlm2vla.robot.link.keys import read_allowed, read_pair, read_public


def test_a_pair_is_made_and_only_its_owner_can_read_the_secret(tmp_path):
    made = make_keys(tmp_path / "new", "anna")
    assert stat.S_IMODE(made.secret.stat().st_mode) == 0o600
    pair = read_pair(made.secret)
    assert pair.public == read_public(made.public) == made.public_key.encode()
    assert pair.secret not in made.public.read_bytes()
    assert pair.secret.decode() not in repr(pair)
    assert sorted(path.name for path in made.public.parent.iterdir()) == ["anna.key", "anna.key_secret"]


def test_a_key_is_never_overwritten(tmp_path):
    made = make_keys(tmp_path, "anna")
    before = made.secret.read_bytes()
    with pytest.raises(ConfigError, match="there already"):
        make_keys(tmp_path, "anna")
    assert made.secret.read_bytes() == before


@pytest.mark.parametrize("name", ["", "../anna", "a/b", ".hidden", "a b", "x" * 65, "anna\n"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot name a key"):
        make_keys(tmp_path, name)


def test_a_secret_that_others_can_read_is_refused(tmp_path):
    made = make_keys(tmp_path, "anna")
    made.secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_pair(made.secret)


def test_an_allow_list_names_who_may_connect_and_is_never_empty(tmp_path):
    allow = tmp_path / "allowed"
    with pytest.raises(ConfigError, match="no folder"):
        read_allowed(allow)
    allow.mkdir()
    with pytest.raises(ConfigError, match="nobody could connect"):
        read_allowed(allow)
    made = make_keys(tmp_path, "anna")
    (allow / "anna.key").write_bytes(made.public.read_bytes())
    assert read_allowed(allow) == {made.public_key.encode(): "anna"}
    (allow / "broken.key").write_text("curve\n    public-key = 'short'\n")
    with pytest.raises(ConfigError, match=r"broken\.key"):
        read_allowed(allow)


def test_missing_and_public_files_are_no_secret(tmp_path):
    made = make_keys(tmp_path, "anna")
    with pytest.raises(ConfigError, match="no key file"):
        read_pair(tmp_path / "nobody.key_secret")
    with pytest.raises(ConfigError, match="no secret key"):
        read_pair(made.public)
