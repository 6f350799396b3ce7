"""Reads the size of a table from the footer of a Parquet file, which polars does not report.

The footer is Thrift in its compact protocol (https://github.com/apache/parquet-format, `parquet.thrift`;
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md). Only numbers are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

_MARK = b"PAR1"
_END = 8
_LARGEST_FOOTER = 64 << 20
_DEEPEST = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
# Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_SCHEMA, _ROWS, _GROUPS, _COLUMNS, _GROUP_BYTES, _GROUP_ROWS, _META, _UNCOMPRESSED = 2, 3, 4, 1, 2, 3, 3, 6
# Fields of SchemaElement, a value of ConvertedType, and a field of LogicalType.
_NAME, _CONVERTED, _PRECISION, _LOGICAL, _INTERVAL, _VARIANT = 4, 6, 8, 10, 21, 16
_MOST_DIGITS = 38


@dataclass(frozen=True, slots=True)
class Declared:
    """The number of rows, and the bytes of all columns when decompressed; `groups` are the rows of each row group."""

    rows: int
    uncompressed: int
    groups: tuple[int, ...] = ()


def read_declared(file: IO[bytes]) -> Declared:
    """Read the footer of an open file. Raises `ValueError` if it is missing or damaged."""
    footer = _read_footer(file)
    rows, groups = footer.get(_ROWS), footer.get(_GROUPS, [])
    if not isinstance(rows, int) or not isinstance(groups, list):
        raise ValueError("its footer does not say how many rows there are")
    total = counted = 0
    for group in groups:
        counted += _number(group, _GROUP_ROWS)
        chunks = group.get(_COLUMNS, [])
        parts = [chunk.get(_META, {}) for chunk in chunks if isinstance(chunk, dict)]
        total += max(_number(group, _GROUP_BYTES), sum(_number(part, _UNCOMPRESSED) for part in parts))
    if rows != counted:
        raise ValueError(f"its footer says {rows:,} rows, and its parts have {counted:,}")
    return Declared(rows, total, tuple(_number(group, _GROUP_ROWS) for group in groups))


def odd_columns(file: IO[bytes]) -> list[tuple[str, str]]:
    """Columns of types that other programs write and polars cannot read, each with its type in words.

    Raises `ValueError` if the footer is missing or damaged.
    """
    found = []
    for element in _read_footer(file).get(_SCHEMA, []):
        name = element.get(_NAME) if isinstance(element, dict) else None
        if not isinstance(name, bytes):
            continue
        precision, logical = element.get(_PRECISION), element.get(_LOGICAL)
        if isinstance(precision, int) and precision > _MOST_DIGITS:
            kind = f"decimals of {precision} digits (at most {_MOST_DIGITS} can be read)"
        elif element.get(_CONVERTED) == _INTERVAL:
            kind = "intervals"
        elif isinstance(logical, dict) and _VARIANT in logical:
            kind = "variants"
        else:
            continue
        found.append((name.decode("utf-8", "replace"), kind))
    return found


def _read_footer(file: IO[bytes]) -> dict[int, Any]:
    size = file.seek(0, 2)
    if size < len(_MARK) + _END:
        raise ValueError("it is too short")
    file.seek(size - _END)
    end = file.read(_END)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MARK or length > min(_LARGEST_FOOTER, size - _END - len(_MARK)):
        raise ValueError("its end is not that of a Parquet file")
    file.seek(size - _END - length)
    return _Reader(file.read(length)).struct(0)


def _number(table: Any, field: int) -> int:
    value = table.get(field, 0) if isinstance(table, dict) else None
    if not isinstance(value, int) or value < 0:
        raise ValueError("its footer has a size that is no number")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def struct(self, depth: int) -> dict[int, Any]:
        """Values by the number of their field."""
        if depth > _DEEPEST:
            raise ValueError("its footer is nested too deeply")
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            field = field + step if step else self._zigzag()
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind in (_BYTE, _TRUE, _FALSE):
            return self._byte()
        if kind == _BINARY:
            length = self._varint()
            self._skip(length)
            return self._data[self._place - length : self._place]
        if kind == _DOUBLE:
            self._skip(8)
            return None
        raise ValueError("its footer has a value of an unknown kind")  # there are no maps in it

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        kind, count = head & 15, head >> 4
        count = self._varint() if count == 15 else count
        if count > len(self._data) - self._place or depth > _DEEPEST:  # each item has a byte at least
            raise ValueError("its footer is cut off")
        return [self._value(kind, depth) for _ in range(count)]

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self._place - 1]

    def _skip(self, count: int) -> None:
        if count > len(self._data) - self._place:
            raise ValueError("its footer is cut off")
        self._place += count

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("its footer has a number of more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
