"""Secrets in texts: what is found, what is left alone, and what holds for every text."""

import pytest

from tasks.masking import MASK, masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=a1B2c3password: hunter&22", f"password={MASK}: {MASK}"),
        ("password: Letmein", f"password: {MASK}"),
        ('{"password": "hunter2", "x": 1}', f'{{"password": "{MASK}", "x": 1}}'),
        ("export API_KEY=abcdefghijkl", f"export API_KEY={MASK}"),
        ("PASSWORD='$ecret1'", f"PASSWORD='{MASK}'"),
        ("curl -u bob:pw1 https://x", f"curl -u bob:{MASK} https://x"),
        ("mysql -u root -phunter db", f"mysql -u root -p{MASK} db"),
        ("postgres://u:p@h/db", f"postgres://u:{MASK}@h/db"),
    ],
)
def test_a_secret_is_masked_and_nothing_else(text, expected):
    assert masked(text) == expected
    assert masked(expected) == expected
