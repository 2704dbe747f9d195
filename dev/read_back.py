#!/usr/bin/env python3
"""Reads a directory made by `longshore fetch --to DIR` with programs that are not ours, and checks what it promises.

    dev/read_back.py DIR [--source urls] [--expect DIGEST]

The three tables are read twice, by the deltalake package (through pyarrow) and by polars, and have to agree row for row.
Then: no key twice, every attachment of every event stored or failed and nothing else, every object there with the row's
size and SHA-256. Prints counts and one digest over what the rows say (without the times), which stays the same over
compaction and vacuum: pass it with --expect to hold a later state to it. Exits with 1 and names what is wrong.

Needs the packages of dev/requirements.txt; dev/test installs them and runs this.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import polars
from deltalake import DeltaTable

# Table suffix: its key, and the columns whose values make the digest.
TABLES = {
    "attachments": (["media_id"], ["media_id", "attachment_url", "blob_path", "bytes_downloaded", "sha256", "event_date"]),
    "attachments_failed": (["media_id", "life"], ["media_id", "life", "attachment_url", "status", "http_status", "event_date"]),
    "events": (["event_key"], ["event_key", "trace_id", "media_ids", "raw_json", "event_date"]),
}


def main():
    args = arguments()
    sources = [args.source] if args.source else sources_in(args.dir)
    checks = [Check(args.dir, source) for source in sources]
    faults = [fault for check in checks for fault in check.faults]
    total = hashlib.sha256("".join(check.digest for check in checks).encode()).hexdigest()
    for check in checks:
        print(", ".join(f"{check.source}_{name}: {len(rows)} rows" for name, rows in check.rows.items()))
        print(f"{check.objects} objects read, {check.bytes} bytes; {check.orphans} objects without a row")
    if args.expect and args.expect != total:
        faults.append(f"the digest is {total} and was expected to be {args.expect}")
    for fault in faults[:20]:
        print(f"read_back: {fault}", file=sys.stderr)
    if faults:
        sys.exit(f"read_back: {len(faults)} faults in {args.dir}")
    print(f"deltalake and polars agree\ndigest {total}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--source", help="default: every source that has tables in DIR")
    parser.add_argument("--expect", metavar="DIGEST", help="fail unless this is the digest")
    return parser.parse_args()


def sources_in(dir):
    found = sorted(path.name.removesuffix("_events") for path in (dir / "tables").glob("*_events"))
    return found or sys.exit(f"read_back: no table in {dir}/tables; is this a directory that `longshore fetch --to` made?")


class Check:
    """One source: its rows as both readers see them, and every fault found."""

    def __init__(self, dir, source):
        self.dir, self.source, self.faults = dir, source, []
        self.rows = {name: self.read(name, *columns) for name, columns in TABLES.items()}
        self.digest = digest(list(self.rows.values()))
        self.check_ids()
        self.objects, self.bytes, self.orphans = self.check_objects()

    def read(self, name, key, columns):
        path = self.dir / "tables" / f"{self.source}_{name}"
        if not DeltaTable.is_deltatable(str(path)):
            return []  # made with its first row
        table = DeltaTable(path)
        self.check_types(path, table)
        ours = self.sorted(path, "deltalake", table.to_pyarrow_table(columns=columns).to_pylist(), key)
        theirs = self.sorted(path, "polars", polars.read_delta(str(path), columns=columns).to_dicts(), key)
        if ours != theirs:
            differing = sum(a != b for a, b in zip(ours, theirs)) + abs(len(ours) - len(theirs))
            self.faults.append(f"{path.name}: deltalake reads {len(ours)} rows, polars {len(theirs)}; {differing} differ")
        return ours

    def sorted(self, path, reader, rows, key):
        counts = Counter(tuple(row[column] for column in key) for row in rows)
        twice = [each for each, count in counts.items() if count > 1]
        self.faults += [f"{path.name}: {reader} reads {dict(zip(key, each))} {counts[each]} times" for each in twice]
        return sorted(rows, key=lambda row: (*(row[column] for column in key), canonical(row)))

    def check_types(self, path, table):
        for field in json.loads(table.schema().to_json())["fields"]:
            name, kind = field["name"], field["type"]
            want = "date" if name == "event_date" else "timestamp" if name.endswith(("_at", "_time")) else kind
            if kind != want:
                self.faults.append(f"{path.name}.{name} is of type {kind}, not {want}")
        if table.metadata().partition_columns != ["event_date"]:
            self.faults.append(f"{path.name} is partitioned by {table.metadata().partition_columns}, not by event_date")

    def check_ids(self):
        """Every attachment of every event is stored or failed, and no row speaks of anything else."""
        wanted = {id for event in self.rows["events"] for id in event["media_ids"]}
        ended = {row["media_id"] for name in ("attachments", "attachments_failed") for row in self.rows[name]}
        self.faults += [f"{id}: is in an event, and neither stored nor failed" for id in sorted(wanted - ended)]
        self.faults += [f"{id}: has a row, and is in no event" for id in sorted(ended - wanted)]

    def check_objects(self):
        """Each object that a row names, against the row. Returns objects and bytes read, and objects without a row."""
        files, total = self.dir / "files", 0
        for row in self.rows["attachments"]:
            fault, size = compare(files / row["blob_path"], row)
            total += size
            self.faults += [f"{row['media_id']}: {files / row['blob_path']} {fault}"] if fault else []
        named = {row["blob_path"] for row in self.rows["attachments"]}
        there = {str(path.relative_to(files)) for path in files.rglob("*") if path.is_file()} if files.is_dir() else set()
        return len(named), total, len(there - named)


def compare(path, row):
    """What is wrong with an object, if anything, and how many bytes it has."""
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        return f"cannot be read: {error.strerror}", 0
    if size != row["bytes_downloaded"]:
        return f"has {size} bytes; the row says {row['bytes_downloaded']}", size
    return (f"has SHA-256 {found}; the row says {row['sha256']}" if found != row["sha256"] else None), size


def digest(tables):
    state = hashlib.sha256()
    for rows in tables:
        for row in rows:
            state.update(canonical(row).encode() + b"\n")
        state.update(b"\0")
    return state.hexdigest()


def canonical(row):
    return json.dumps(row, sort_keys=True, default=str, ensure_ascii=False)


if __name__ == "__main__":
    main()
