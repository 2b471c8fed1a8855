"""A table as a Parquet file. Needs the extra `parquet`, which is looked for when one is asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway_server.analysis.tables import Kind, Line, Table
from gateway_server.settings import SettingsError


class ParquetFile:
    """Raises SettingsError where pyarrow is not installed, FileExistsError for an older file."""

    def __init__(self, folder: Path, table: Table) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise SettingsError(
                "Parquet needs the extra `parquet`: pip install 'reunite-gateway-server[parquet]'"
            ) from error
        types: Mapping[Kind, object] = {
            "text": pa.string(),
            "number": pa.float64(),
            "whole": pa.int64(),
            "flag": pa.bool_(),
            "moment": pa.timestamp("us", tz="UTC"),
            "day": pa.date32(),
        }
        self._columns = table.columns
        self._schema = pa.schema([(one.name, types[one.kind]) for one in self._columns])
        self._make_batch = pa.RecordBatch.from_pylist
        self._file = (folder / f"{table.name}.parquet").open("xb")
        self._writer = parquet.ParquetWriter(self._file, self._schema)

    def write(self, lines: Sequence[Line]) -> None:
        if lines:
            shown = [{one.name: line[one.name] for one in self._columns} for line in lines]
            self._writer.write_batch(self._make_batch(shown, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
        self._file.close()
