"""JSON that a stranger has sent: read only if it cannot grow much in memory, and spoken of in few words.

Three bytes of JSON (`[],`) become seventy of Python, so the number of values is bounded before any is made. What is
counted are the marks that begin or divide values: those inside texts, too, which errs on the safe side.
"""

from __future__ import annotations

import json
import reprlib
from typing import Any, NoReturn

from overwinter.serving.messages import RequestError

_MARKS = (b",", b"[", b"{", b":")


def parse_object(content: bytes, *, max_values: int) -> dict[str, Any]:
    """Return a JSON object.

    Args:
        content: UTF-8, with or without a byte order mark.
        max_values: keys counted too (`serve.limits.json_values`).

    Raises:
        RequestError: 400, it is none, or holds NaN; 413, it has too many values.
    """
    count = sum(map(content.count, _MARKS))
    if count > max_values:
        raise RequestError(
            413,
            f"The JSON has {count} values and keys, or marks that divide them; {max_values} are read "
            "(serve.limits.json_values). Send tensors as binary data, or several requests.",
        )
    try:
        found = _DECODER.decode(content.decode("utf-8-sig"))
    except RecursionError:
        raise RequestError(400, "The body is no JSON that can be read: it is nested too deep.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, f"The body is no JSON: {error}.") from None
    except ValueError:  # Python's own limit on the digits of a whole number
        raise RequestError(400, "The body is no JSON that can be read: a number has thousands of digits.") from None
    if not isinstance(found, dict):
        raise RequestError(400, f"The body must be a JSON object, not {shown(found)}.")
    return found


def shown(value: Any) -> str:
    """Return a value for a message: short, however large or deep it is."""
    return _SHORT.repr(value)


def _refuse_constant(name: str) -> NoReturn:
    raise RequestError(400, f"The body is no JSON: {name} is no number there.")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
