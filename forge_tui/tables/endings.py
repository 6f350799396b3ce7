"""What the ending of a file's name says of a table, without reading it."""

from __future__ import annotations

from pathlib import PurePath

TEXT = (".csv", ".tsv")
"""Tables of text, which may be compressed."""
TABLES = (*TEXT, ".parquet", ".arrow", ".feather", ".jsonl", ".ndjson", ".xlsx")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")

_PANDAS = "python -c \"import pandas; pandas.{}.to_parquet('{}.parquet')\""
# What other kinds of files are, and how pandas reads them.
_OTHERS = {
    ".xls": ("an older Excel workbook", "read_excel('{}')"),
    ".ods": ("an OpenDocument table", "read_excel('{}')"),
    ".dta": ("a Stata file", "read_stata('{}')"),
    ".sav": ("an SPSS file", "read_spss('{}')"),
    ".sas7bdat": ("a SAS file", "read_sas('{}')"),
    ".xpt": ("a SAS file", "read_sas('{}')"),
    ".orc": ("an ORC file", "read_orc('{}')"),
    ".json": ("a JSON document", "read_json('{}')"),
    ".xml": ("an XML document", "read_xml('{}')"),
    ".html": ("a web page", "read_html('{}')[0]"),
    ".h5": ("an HDF5 file", "read_hdf('{}')"),
    ".hdf5": ("an HDF5 file", "read_hdf('{}')"),
    ".pkl": ("a pickle, which could run any code and is never opened here", "read_pickle('{}')"),
    ".pickle": ("a pickle, which could run any code and is never opened here", "read_pickle('{}')"),
    ".dat": ("a table of an unknown form", "read_csv('{}', sep=r'\\s+')"),
}
_R = {".rds": "readRDS('{}')", ".rda": "get(load('{}'))", ".rdata": "get(load('{}'))"}


def ending_of(path: PurePath) -> str:
    """The ending that tells how a file is read, without that of a compression: `.csv` of `a.csv.gz`."""
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        inner = PurePath(path.stem).suffix.lower()
        return inner if inner in TEXT else suffix
    return suffix


def is_table(name: str) -> bool:
    """Whether a dataset's name is that of a table."""
    return ending_of(PurePath(name)) in TABLES


def is_text_table(name: str) -> bool:
    """Whether a dataset's name is that of a table of text."""
    return ending_of(PurePath(name)) in TEXT


def how_to_convert(path: PurePath) -> str | None:
    """What a file of another kind is, and the line that converts it; None if that is unknown."""
    suffix = path.suffix.lower()
    if suffix in _R:
        line = f"Rscript -e \"write.csv({_R[suffix].format(path.name)}, '{path.stem}.csv', row.names = FALSE)\""
        return f"is a file of R; convert it: {line}"
    if suffix in _OTHERS:
        what, how = _OTHERS[suffix]
        return f"is {what}; convert it: {_PANDAS.format(how.format(path.name), path.stem)}"
    return None
