"""What the whole pipeline would cost on the machines of several ledgers, and on hardware on which nothing has run.

A machine is a host name of the ledgers. What it has run itself is forecast from its own executions (`history`). What
only another machine has run is `transferred`, by the ratio of stages that both have run. Hardware without a ledger is
`modelled` from public figures. A machine that has run with other devices too counts once per device.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from overwinter.budget import Forecast, Range
from overwinter.budget.roofline import Peak, modelled, peak_of
from overwinter.budget.transfer import pairs_of, transferred
from overwinter.config import Config, Project
from overwinter.config.composing_many import Composer
from overwinter.config.groups.energy import HardwareConfig, read_hourly_price
from overwinter.config.limits import read_price
from overwinter.energy.machine import this_machine, thread_power_w
from overwinter.errors import ConfigError, nearest
from overwinter.ledger import ExecutionRecord, Ledger, ledger_path, total
from overwinter.ledger.merging import read_executions
from overwinter.pipeline.history import History
from overwinter.pipeline.prefix import PrefixKeys
from overwinter.pipeline.render import stages_until
from overwinter.units import Quantity, format_duration

HISTORY, TRANSFERRED, MODELLED, UNKNOWN = "history", "transferred", "modelled", "unknown"
_CPU, _GPU = "cpu", "gpu"
_DEVICES = {_CPU: "device=cpu", _GPU: "device=cuda"}
_J_PER_KWH, _S_PER_HOUR = 3.6e6, 3600.0
_CLOCKS_DIFFER_S = 300.0


@dataclass(frozen=True, kw_only=True)
class MachineCost:
    """The forecast cost of the whole pipeline on one machine.

    Attributes:
        name: The host, or an option of configs/hardware/.
        device: `cpu`, `gpu`, or the accelerator's name.
        basis: The weakest basis of its stages: `history`, `transferred`, `modelled` or `unknown`.
        executions: The number of executions, or of pairs of executions, that the forecast rests on.
        measured_fraction: The share of these executions' joules that counters measured; None without any.
        energy_j: Joules; None if unknown, as the other figures.
        carbon_g: Grams.
        duration_s: Seconds.
        cost: Money, for electricity and the hour.
        currency: The currency of `cost`.
        unknown: The stages without a forecast.
        notes: What to know about the figures.
    """

    name: str
    device: str
    basis: str
    executions: int = 0
    measured_fraction: float | None = None
    energy_j: Range | None = None
    carbon_g: Range | None = None
    duration_s: Range | None = None
    cost: Range | None = None
    currency: str | None = None
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The machines to compare.

    Attributes:
        ledgers: Ledgers of other machines, merged or not, besides the project's own.
        hardware: Options of configs/hardware/ to model.
        prices: The price of an hour, by host or option.
        gpus: The GPUs of this machine, in words; empty if it has none.
        until: The last stage to compare; None: the pipeline's.
    """

    ledgers: tuple[Path, ...] = ()
    hardware: tuple[str, ...] = ()
    prices: Mapping[str, Quantity] = field(default_factory=dict)
    gpus: str = ""
    until: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Variant:
    """The pipeline as configured, or on another device."""

    config: Config
    prefixes: Mapping[str, str]
    stages: list[str]


def compare_machines(
    composer: Composer, overrides: Sequence[str], machines: Machines, *, now_utc: datetime
) -> list[MachineCost]:
    """Return the cost of the whole pipeline on every machine, in no order.

    Args:
        composer: Composes the configurations of the project.
        overrides: The overrides of the configuration.
        machines: The machines.
        now_utc: The present time.

    Raises:
        ConfigError: the configuration is invalid, a ledger or an option does not exist, a price is for no machine, or
            currencies differ.
        IntegrityError: a ledger is damaged.
    """
    return _Comparing(composer, overrides, machines, now_utc).costs()


class _Comparing:
    def __init__(self, composer: Composer, overrides: Sequence[str], machines: Machines, now_utc: datetime) -> None:
        self._composer, self._overrides, self._machines, self._now_utc = composer, overrides, machines, now_utc
        self._keys = PrefixKeys(composer.project)
        self._hosts = _by_host(_executions(composer.project, machines.ledgers))
        self._here = platform.node()
        self._given = self._variant(())
        self._config = self._given.config
        self._intensity: float = self._config.carbon.open().at(now_utc).g_per_kwh
        self._reference = self._most_known()

    def costs(self) -> list[MachineCost]:
        self._refuse_stray_prices()
        found = [self._of_host(host, self._given) for host in {self._here: None, **self._hosts}]
        for device, override in _DEVICES.items():
            variant = self._variant((override,))
            labels = {cost.name for cost in found if cost.device == device}
            for host in (host for host in self._hosts if host not in labels):
                cost = self._of_host(host, variant, transfer=False)
                found += [cost] if cost.basis == HISTORY else []
        return [*found, *self._not_tried(found), *(self._of_hardware(name) for name in self._machines.hardware)]

    def _variant(self, overrides: Sequence[str]) -> _Variant:
        made = self._composer.compose([*self._overrides, *overrides])
        stages = stages_until(self._machines.until, made.config)
        return _Variant(config=made.config, prefixes=self._keys.of(made.config, made.parameters), stages=stages)

    def _most_known(self) -> str:
        """Return the host that knows most of the pipeline's stages: this one, of several."""
        known = {host: sum(each.energy_j is not None for each in self._own(host, self._given)) for host in self._hosts}
        return max([self._here, *known], key=lambda host: known.get(host, 0))

    def _own(self, host: str, variant: _Variant) -> list[Forecast]:
        history = History(self._hosts.get(host, []))
        config = variant.config
        return [history.forecast(config, stage, variant.prefixes, host=host) for stage in variant.stages]

    def _of_host(self, host: str, variant: _Variant, *, transfer: bool = True) -> MachineCost:
        records = self._hosts.get(host, [])
        intensity = self._intensity_of(records)
        forecasts = [_at_intensity(each, intensity) for each in self._own(host, variant)]
        if transfer and host != self._reference:
            pairs = pairs_of(self._hosts.get(self._reference, []), records)
            known = {each.stage: each for each in self._own(self._reference, variant)}
            forecasts = [
                each
                if each.energy_j is not None
                else transferred(known[each.stage], pairs, intensity_g_per_kwh=intensity)
                for each in forecasts
            ]
        used = _of_pipeline(records, variant)
        return self._sum(
            host,
            _device_of(_in_variant(used, variant) or used),
            forecasts,
            measured=total(host, used).measured_fraction if used else None,
            notes=self._notes(records),
        )

    def _intensity_of(self, records: Sequence[ExecutionRecord]) -> float:
        """Return the latest carbon intensity of a machine's executions; without any, the project's present one."""
        weighed = [each for each in records if each.carbon_g is not None and each.energy_j]
        if not weighed or weighed[-1].host == self._here:
            return self._intensity
        return (weighed[-1].carbon_g or 0.0) / (weighed[-1].energy_j or 1.0) * _J_PER_KWH

    def _of_hardware(self, name: str) -> MachineCost:
        option = self._composer.compose([*self._overrides, f"hardware={name}"]).config.hardware
        known = self._own(self._reference, self._given)
        reference = self._peak(self._config.hardware)
        device = _device_of(_of_pipeline(self._hosts.get(self._reference, []), self._given))
        if device == _GPU and not reference.accelerator:
            return MachineCost(
                name=name,
                device=option.accelerator.name or _CPU,
                basis=UNKNOWN,
                unknown=tuple(self._given.stages),
                notes=(f"name the GPU of {self._reference}, to which it is compared, such as hardware=h100",),
            )
        there = self._peak(option)
        forecasts = [modelled(each, reference, there, intensity_g_per_kwh=self._intensity) for each in known]
        notes = [f"from public figures: {option.accelerator.figures_from or 'of its CPU'}"]
        if option.accelerator.memory_gb is not None:
            notes.append(f"{option.accelerator.memory_gb:g} GB of memory")
        return self._sum(name, option.accelerator.name or _CPU, forecasts, hardware=option, notes=notes)

    def _peak(self, hardware: HardwareConfig) -> Peak:
        machine = this_machine()
        thread_w, _ = thread_power_w(
            machine,
            cpu_tdp_w=hardware.cpu_tdp_w,
            cpu_threads=hardware.cpu_threads,
            cpu_w_per_thread=hardware.cpu_w_per_thread,
        )
        threads = self._config.threads or round(machine.allowed_threads)
        return peak_of(hardware, threads=max(1, threads), thread_w=thread_w)

    def _not_tried(self, found: Sequence[MachineCost]) -> list[MachineCost]:
        """Return the devices of this machine that nothing has run on."""
        labels = {cost.device for cost in found if cost.name == self._here and cost.basis != UNKNOWN}
        if not self._machines.gpus or not labels:
            return []
        missing = [device for device in _DEVICES if device not in labels]
        return [
            MachineCost(
                name=self._here,
                device=self._machines.gpus if device == _GPU else _CPU,
                basis=UNKNOWN,
                unknown=tuple(self._given.stages),
                notes=(f"nothing has run on it: `overwinter run {_DEVICES[device]}`, or model it by --hardware",),
            )
            for device in missing
        ]

    def _sum(
        self,
        name: str,
        device: str,
        forecasts: Sequence[Forecast],
        *,
        measured: float | None = None,
        hardware: HardwareConfig | None = None,
        notes: Sequence[str] = (),
    ) -> MachineCost:
        unknown = tuple(each.stage for each in forecasts if each.energy_j is None)
        energy_j, carbon_g, duration_s = (
            _added(getattr(each, figure) for each in forecasts) for figure in ("energy_j", "carbon_g", "duration_s")
        )
        cost, currency = self._money(name, energy_j, duration_s, hardware)
        if unknown:
            named = ", ".join(unknown)
            notes = [*notes, f"nothing like {named} has run on it, or on it and another machine of the ledgers"]
        return MachineCost(
            name=name,
            device=device,
            basis=UNKNOWN if unknown else _weakest(forecasts),
            executions=max((each.executions for each in forecasts), default=0),
            measured_fraction=measured,
            energy_j=energy_j,
            carbon_g=carbon_g,
            duration_s=duration_s,
            cost=cost,
            currency=currency,
            unknown=unknown,
            notes=tuple(notes),
        )

    def _money(
        self, name: str, energy_j: Range | None, duration_s: Range | None, hardware: HardwareConfig | None
    ) -> tuple[Range | None, str | None]:
        per_kwh, per_hour = read_price(self._config.budget), self._hourly(name, hardware)
        parts = [
            (price, range_.scaled(price.value / unit))
            for price, range_, unit in ((per_kwh, energy_j, _J_PER_KWH), (per_hour, duration_s, _S_PER_HOUR))
            if price is not None and range_ is not None
        ]
        if len({price.unit for price, _ in parts}) > 1:
            raise ConfigError(f"budget.price_per_kwh={per_kwh} and {per_hour} per hour of {name} differ in currency.")
        return (_added(range_ for _, range_ in parts), parts[0][0].unit) if parts else (None, None)

    def _hourly(self, name: str, hardware: HardwareConfig | None) -> Quantity | None:
        if name in self._machines.prices:
            return self._machines.prices[name]
        known = hardware or (self._config.hardware if name == self._here else None)
        return None if known is None else read_hourly_price(known.price_per_hour, key="hardware.price_per_hour")

    def _refuse_stray_prices(self) -> None:
        known = sorted({self._here, *self._hosts, *self._machines.hardware})
        for name in self._machines.prices:
            if name not in known:
                raise ConfigError(
                    f"--price {name}: there is no such machine. Machines: {', '.join(known)}.{nearest(name, known)}"
                )

    def _notes(self, records: Sequence[ExecutionRecord]) -> list[str]:
        latest = max((each.started_utc for each in records), default=self._now_utc)
        ahead_s = (latest - self._now_utc).total_seconds()
        if ahead_s <= _CLOCKS_DIFFER_S:
            return []
        return [f"its clock is {format_duration(ahead_s)} ahead of this one; its costs do not depend on that"]


def _executions(project: Project, ledgers: Iterable[Path]) -> list[ExecutionRecord]:
    """Return the executions of the project's own ledger and of others, each once."""
    own = ledger_path(project.root)
    found: dict[str, ExecutionRecord] = {}
    if own.exists():
        with Ledger.open(own) as ledger:
            ledger.reap()
            found |= {each.id: each for each in ledger.executions(documents=True)}
    for path in ledgers:
        found |= {each.id: each for each in read_executions(path)}
    return sorted((each for each in found.values() if each.of_pipeline), key=lambda each: each.started_utc)


def _by_host(records: Iterable[ExecutionRecord]) -> dict[str, list[ExecutionRecord]]:
    found: dict[str, list[ExecutionRecord]] = {}
    for record in records:
        found.setdefault(record.host, []).append(record)
    return found


def _of_pipeline(records: Iterable[ExecutionRecord], variant: _Variant) -> list[ExecutionRecord]:
    stages = set(variant.stages)
    return [each for each in records if each.stage in stages and each.status == "done" and each.energy_j is not None]


def _in_variant(records: Iterable[ExecutionRecord], variant: _Variant) -> list[ExecutionRecord]:
    return [each for each in records if variant.prefixes.get(each.stage) == each.prefix_key]


def _device_of(records: Iterable[ExecutionRecord]) -> str:
    """Return `gpu` if an energy.json counts a GPU's joules, else `cpu`."""
    devices = (part.get("device", "") for each in records for part in (each.energy or {}).get("components", ()))
    return _GPU if any(str(device).startswith(_GPU) for device in devices) else _CPU


def _at_intensity(forecast: Forecast, intensity_g_per_kwh: float) -> Forecast:
    if forecast.energy_j is None:
        return forecast
    carbon_g = forecast.energy_j.scaled(intensity_g_per_kwh / _J_PER_KWH)
    return Forecast(**{**vars(forecast), "carbon_g": carbon_g})


def _weakest(forecasts: Iterable[Forecast]) -> str:
    bases = {each.basis for each in forecasts}
    return next((basis for basis in (UNKNOWN, MODELLED, TRANSFERRED) if basis in bases), HISTORY)


def _added(ranges: Iterable[Range | None]) -> Range | None:
    """Return the sum of ranges; None if one of them is not known."""
    parts = list(ranges)
    known = [each for each in parts if each is not None]
    if not known or len(known) < len(parts):
        return None
    return Range(
        low=sum(each.low for each in known),
        expected=sum(each.expected for each in known),
        high=sum(each.high for each in known),
    )
