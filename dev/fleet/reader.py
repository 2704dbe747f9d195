"""A table as an outside reader sees it: the commits of its Delta log, by name, and the rows of the files they add."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from measuring import fail


class Commits:
    """Follows a table's log. Each look returns what commits have added since the last one."""

    def __init__(self, table):
        self.table, self.next = table, 0

    def look(self):
        """The files added by new commits, as (path, rows). Merging files adds none."""
        added = []
        while (text := self.read(self.next)) is not None:
            self.next += 1
            for action in map(json.loads, text.splitlines()):
                if (add := action.get("add")) and add["dataChange"]:
                    added.append((self.table / add["path"], json.loads(add["stats"])["numRecords"]))
        return added

    def read(self, version):
        try:
            return (self.table / "_delta_log" / f"{version:020}.json").read_text()
        except FileNotFoundError:
            return None


def until_rows(table, count, patience, check):
    """Waits until so many rows were added to a table; when that was."""
    commits, rows, until = Commits(table), 0, time.monotonic() + patience
    while rows < count:
        rows += sum(rows for _, rows in commits.look())
        check()
        if time.monotonic() > until:
            fail(f"{table} has {rows} of {count} rows after {patience} s")
        time.sleep(0.02)
    return time.time()
