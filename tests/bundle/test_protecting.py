import pytest

from overwinter.bundle import Keys, measure_wake, protect, wake
from overwinter.errors import ConfigError


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_text("ab" * 32)
    (tmp_path / "secret").chmod(0o600)
    return f"file:{tmp_path / 'secret'}"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_keys_nothing_changes(hibernate):
    bundle = hibernate()
    before = contents(bundle.folder)
    assert protect(bundle.folder).digest == bundle.digest
    assert contents(bundle.folder) == before


def test_a_protected_bundle_wakes_for_anyone_who_has_the_keys(hibernate, key_pair, secret):
    private, public = key_pair
    bundle = hibernate()
    protected = protect(bundle.folder, sign_key=f"file:{private}", encryption_keys=[secret])
    assert protected.sealed
    assert protected.source == bundle.source
    assert protected.source.is_file()
    model = wake(protected.source, keys=Keys(trusted=(public,), opening=(secret,)))
    assert model.bundle.digest == bundle.digest
    assert len(measure_wake(protected.source, repeats=1, keys=[secret]).durations_s) == 1


def test_a_missing_key_leaves_the_bundle(hibernate, secret):
    bundle = hibernate()
    before = contents(bundle.folder)
    with pytest.raises(ConfigError, match="holds no key"):
        protect(bundle.folder, sign_key="env:NO_SUCH_KEY", encryption_keys=[secret])
    with pytest.raises(ConfigError, match="cannot be read"):
        protect(bundle.folder, encryption_keys=["file:/no/such/file"])
    assert contents(bundle.folder) == before
