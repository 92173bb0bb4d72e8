"""Parsing of untrusted JSON, with a limit on its size in memory, and short texts about its values.

Three bytes of JSON (`[],`) become seventy in Python, so the number of values is limited before parsing. Counted are
the characters that begin or separate values, including those inside strings, which errs on the safe side.
"""

from __future__ import annotations

import json
import reprlib
from typing import Any, NoReturn

from overwinter.serving.messages import RequestError

_MARKS = (b",", b"[", b"{", b":")


def parse_object(content: bytes, *, max_values: int) -> dict[str, Any]:
    """Return the parsed JSON object.

    Args:
        content: UTF-8, with or without a byte order mark.
        max_values: The maximum number of values and keys (`serve.limits.json_values`).

    Raises:
        RequestError: 400, the content is not a JSON object, or contains NaN; 413, it has too many values.
    """
    count = sum(map(content.count, _MARKS))
    if count > max_values:
        raise RequestError(
            413,
            f"The JSON has {count} values, keys and separators; the limit is {max_values} "
            "(serve.limits.json_values). Send tensors as binary data, or several requests.",
        )
    try:
        found = _DECODER.decode(content.decode("utf-8-sig"))
    except RecursionError:
        raise RequestError(400, "The JSON of the body is nested too deep.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, f"The body is not valid JSON: {error}.") from None
    except ValueError:  # Python's own limit on the digits of a whole number
        raise RequestError(400, "The JSON of the body has a number with thousands of digits.") from None
    if not isinstance(found, dict):
        raise RequestError(400, f"The body must be a JSON object, not {shown(found)}.")
    return found


def shown(value: Any) -> str:
    """Return a short text of a value for a message, however large or deep it is."""
    return _SHORT.repr(value)


def _refuse_constant(name: str) -> NoReturn:
    raise RequestError(400, f"The body is not valid JSON: {name} is not a JSON number.")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
