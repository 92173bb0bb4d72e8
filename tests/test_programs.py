"""What a program's error says."""

import pytest

from overwinter.errors import ConfigError
from overwinter.programs import explained


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("data.root=s3://me:hunter2@bucket/x is wrong", "data.root=s3://me:***@bucket/x is wrong"),
        ("https://:token@host and ftp://a:b@c", "https://:***@host and ftp://a:***@c"),
        ("s3://bucket/a:b@c http://host:80/x?y=a@b", "s3://bucket/a:b@c http://host:80/x?y=a@b"),
    ],
)
def test_passwords_of_addresses_are_not_shown(said, shown):
    assert explained(ConfigError(said)) == (shown, 2)
