"""The comparison of two sides: responses, quality, production, and what to know when reading them."""

from __future__ import annotations

from overwinter.comparison.contents import Side
from overwinter.comparison.measures import known_measures
from overwinter.comparison.metering import machines_unknown, modelled_share
from overwinter.comparison.noise import Noises
from overwinter.comparison.production import production_changes
from overwinter.comparison.quality import headline, qualities
from overwinter.comparison.records import RunComparison
from overwinter.comparison.responses import drift, responses
from overwinter.config import Config
from overwinter.config.changes import differences

_NOT_SETTINGS = ("configs_digest", "packages")  # they follow from the others


def compare(a: Side, b: Side, *, noises: Noises, workspace: Config | None = None) -> RunComparison:
    """Compare two sides.

    Args:
        a: The reference.
        b: What is compared with it.
        noises: How much figures vary when they are measured again.
        workspace: The workspace's configuration, for a task of one's own.
    """
    measures = {**known_measures(a, workspace), **known_measures(b, workspace)}
    answered = responses(a, b, noises)
    produced, notes = production_changes(a, b, noises)
    quality = qualities(a, b, measures)
    found = [
        *a.notes,
        *b.notes,
        *notes,
        modelled_share(a, b),
        machines_unknown(a, b),
        _other_task(a, b),
        drift(a, b, noises),
    ]
    return RunComparison(
        a=a.title,
        b=b.title,
        parameters=_parameters(a, b),
        parameters_known=a.params is not None and b.params is not None,
        a_chosen=a.evaluation.chosen.name if a.evaluation else None,
        b_chosen=b.evaluation.chosen.name if b.evaluation else None,
        figures=(*answered, *quality, *produced),
        notes=tuple(dict.fromkeys(each for each in found if each)),
    )


def _parameters(a: Side, b: Side) -> tuple[str, ...]:
    if a.params is None or b.params is None:
        return ()
    old, new = (
        {key: value for key, value in side.items() if key not in _NOT_SETTINGS} for side in (a.params, b.params)
    )
    return tuple(differences("", old, new))


def _other_task(a: Side, b: Side) -> str | None:
    one, two = headline(a), headline(b)
    if one is None or two is None or one == two:
        return None
    return f"A is judged by {one}, B by {two}: the tasks differ, so neither quality nor a response means the same"
