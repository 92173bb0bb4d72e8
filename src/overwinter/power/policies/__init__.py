"""The power policies: pure functions of what is observed (`overwinter.power.interface`), each with its settings.

`no_cap`, `static` and `schedule` look at nothing but the clock, `energy_optimal` tries limits with the help of
`probing`, `budget_pacing` spends evenly, `planned` follows a forecast (`carbon_aware`, `price_aware`). The registry
(`overwinter.registries`), or an entry point of the group `overwinter.power_policies`, names the settings of a policy.
"""
