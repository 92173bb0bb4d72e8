from datetime import UTC, datetime, timedelta

import pytest

from overwinter.errors import ConfigError, OverwinterError
from overwinter.power.prices import Prices

START = datetime(2026, 6, 1, tzinfo=UTC)


def written(tmp_path, *rows, header="time_utc,price_per_kwh"):
    path = tmp_path / "prices.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_prices_may_be_negative_and_future_ones_are_known(tmp_path):
    rows = ("2026-06-01T00:00:00Z,0.3", "2026-06-01T01:00:00Z,-0.05", "2026-06-01T03:00:00Z,0.15")
    prices = Prices(written(tmp_path, *rows))
    assert prices.at(START + timedelta(minutes=90)) == -0.05
    ahead = prices.forecast(START + timedelta(minutes=90))
    assert (ahead.start_utc, ahead.step_s) == (START + timedelta(hours=1), 3600)
    assert ahead.values == pytest.approx((-0.05, 0.05, 0.15))


def test_outside_the_file_nothing_is_known(tmp_path):
    prices = Prices(written(tmp_path, "2026-06-01T00:00:00Z,0.3", "2026-06-01T01:00:00Z,0.2"))
    for look in (prices.at, prices.forecast):
        with pytest.raises(OverwinterError, match=r"prices\.csv \(power\.prices\) covers 2026-06-01 00:00"):
            look(START + timedelta(hours=2))


def test_a_file_that_was_written_again_is_read_again(tmp_path):
    prices = Prices(written(tmp_path, "2026-06-01T00:00:00Z,0.3", "2026-06-01T01:00:00Z,0.2"))
    tomorrow = [f"2026-06-02T{hour:02}:00:00Z,0.1" for hour in range(24)]
    path = written(tmp_path, "2026-06-01T01:00:00Z,0.2", *tomorrow)
    assert prices.at(START + timedelta(hours=30)) == 0.1
    assert len(prices.forecast(START + timedelta(hours=1)).values) == 47
    path.write_text("time_utc,price")  # half written
    assert prices.at(START + timedelta(hours=30)) == 0.1
    path.unlink()
    assert prices.at(START + timedelta(hours=30)) == 0.1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2026-06-01T01:00:00Z,cheap", "line 3: it has 'cheap'"),
        ("2026-06-01T01:00:00Z,nan", "line 3"),
        ("later,0.2", "line 3"),
        ("2026-06-01T00:00:00Z,0.2", "line 3: .* is not after"),
    ],
)
def test_an_invalid_price_is_reported_with_its_line(tmp_path, row, message):
    with pytest.raises(ConfigError, match=message):
        Prices(written(tmp_path, "2026-06-01T00:00:00Z,0.3", row))


def test_another_column_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="no column price_per_kwh"):
        Prices(written(tmp_path, "2026-06-01T00:00:00Z,0.3", header="time_utc,g_per_kwh"))
