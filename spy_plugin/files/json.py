"""Reading a JSON file into a pydantic model, with errors for a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from spy_plugin.errors import DataError

M = TypeVar("M", bound=BaseModel)


def read_json_as(model: type[M], path: Path, remedy: str) -> M:
    """Read a file that holds one JSON object.

    Args:
        remedy: Ends every error: what the file must be.

    Raises:
        DataError: the file is missing, no JSON, or not of this form; names the first wrong field.
    """
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", remedy, path=path) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(problem, remedy, path=path) from error
    except ValueError as error:
        raise DataError(f"not JSON ({error})", remedy, path=path) from error
