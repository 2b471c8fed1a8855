"""What the searches have shown, for whoever wants to count: photos never, names only if asked.

period.py      since when, until when
history.py     searches with their verdicts, and failures, some at a time
tables.py      the exported tables: their columns, and how a search fills them
files.py       a table as a file: CSV
parquet.py     the same as Parquet, with the extra `parquet`
export.py      `gateway-server export`
figures.py     what `stats` counts
stats.py       `gateway-server stats`
"""
