"""Excel workbooks: the first sheet, with the package of the extra `excel`."""

from __future__ import annotations

from pathlib import Path

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.declared import require_memory
from forge_tui.tables.table import Table, by_position, clean_names

# A workbook is a zip archive of XML, in which a value takes about ten times its size.
_UNPACKED = 10


def read_excel_table(path: Path, data: DataSettings) -> Table:
    """Read the first sheet of a workbook. Raises `DataError` without the package, and for what is no workbook."""
    import polars

    source = str(path)
    require_memory(_UNPACKED * path.stat().st_size, f"{path} as a table", "free some, or save it as CSV")
    try:
        frame = polars.read_excel(path, engine="calamine", infer_schema_length=None)
    except ModuleNotFoundError:
        raise DataError(
            f"{named(source)}: Excel workbooks need a package more: pip install 'forge-tui[excel]'; or save it as CSV"
        ) from None
    except Exception as error:  # the package has errors of its own, without a common base
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{named(source)} is no readable Excel workbook: {reason}; save it as CSV") from None
    names = ["" if name.startswith("__UNNAMED__") else name for name in frame.columns]
    return Table(source=source, names=clean_names(names, source), frame=by_position(frame))
