"""A run is a record: what is computed, under which name it is kept, and everything known about how it was computed."""

from __future__ import annotations

from deeplimit.records.checkpoint import Checkpoint
from deeplimit.records.identity import canonical, run_id
from deeplimit.records.provenance import provenance
from deeplimit.records.rows import RowCollector, frame
from deeplimit.records.store import Store, output_folder
from deeplimit.records.tasks import Context, Cost, Label, Row, Task
from deeplimit.records.writing import write_bytes, write_json, write_text

__all__ = [
    "Checkpoint",
    "Context",
    "Cost",
    "Label",
    "Row",
    "RowCollector",
    "Store",
    "Task",
    "canonical",
    "frame",
    "output_folder",
    "provenance",
    "run_id",
    "write_bytes",
    "write_json",
    "write_text",
]
