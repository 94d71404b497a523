"""V2 tensors and numpy arrays under the name that runtimes and users' code know; the code is core's, as the client needs it too."""

from __future__ import annotations

from wakeful.core.protocol.arrays import (
    DATATYPES,
    DTYPES,
    datatype_of,
    from_array,
    plain,
    raw,
    raw_view,
    to_array,
)

__all__ = ["DATATYPES", "DTYPES", "datatype_of", "from_array", "plain", "raw", "raw_view", "to_array"]
