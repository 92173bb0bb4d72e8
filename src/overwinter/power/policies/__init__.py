"""Power policies: pure functions of an observation (`overwinter.power.interface`), each with its settings.

`no_cap`, `static` and `schedule` depend only on the clock, `energy_optimal` searches for a limit with `probing`,
`budget_pacing` spends a budget evenly, and `planned` follows a forecast (`carbon_aware`, `price_aware`). The registry
(`overwinter.registries`), or an entry point of the group `overwinter.power_policies`, names a policy's settings.
"""
