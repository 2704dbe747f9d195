"""From the intended time of sending to the row that an outside reader sees, with one process per role.

The generator keeps its schedule whatever becomes of the events (open loop), and writes the intended time into each trace id.
The reader follows the table's log every 20 ms and counts an event as seen once it has read its row from the data file.
"""

import sys
import time
from urllib.parse import unquote

import readers
from fleet.reader import Commits, until_rows
from fleet.world import Fleet, told, wait_for_calm
from measuring import IN_FLIGHT, fail

RATE, SECONDS = 1_000, 60
ROLES = ("ingest", "download", "retry", "record")
FIRST = 500  # events that come before: groups are joined, connections open
LATE_MS = 50  # a generator that is later than this with one event in a hundred has not kept its schedule
GOAL_P50_MS, GOAL_P95_MS, GOAL_RSS_MB = 300, 1_000, 128
PATIENCE = 120  # seconds


def measure(bench):
    sys.path.insert(0, str(readers.packages()))
    runs = []
    for turn in range(bench.rounds):
        busy = wait_for_calm(bench.calm)
        runs.append({"round": turn, "busy_before": busy, **run(bench, f"paced-{turn}", bench.scaled(SECONDS))})
        said = "paced {}/{}: p50 {p50_ms:.0f} ms, p95 {p95_ms:.0f} ms, p99 {p99_ms:.0f} ms"
        bench.say(said.format(turn + 1, bench.rounds, **runs[-1]))
    return runs


def run(bench, name, seconds):
    with Fleet(bench.work, name, bench.broker, bench.longshore, IN_FLIGHT) as fleet:
        processes = {role: fleet.start(role) for role in ROLES}
        url, topic, table = bench.origin.url("10k"), fleet.topic("events.raw"), fleet.table("attachments")
        check = lambda: [process.check() for process in processes.values()]
        bench.broker.ask("fill", topic, FIRST, url, 10**8)
        until_rows(table, FIRST, PATIENCE, check)
        generator = bench.broker.start("pace", topic, RATE, seconds, url)
        delays = sorted(seen(table, RATE * seconds, check))
        late = told(generator)["late_ms"]
        part = lambda share: delays[int(len(delays) * share)] * 1_000
        figures = {"p50_ms": part(0.50), "p95_ms": part(0.95), "p99_ms": part(0.99), "max_ms": delays[-1] * 1_000}
        memory = {f"rss_mb_{role}": process.used()["rss_mb"] for role, process in processes.items()}
        return {"events": len(delays), **figures, "late_p99_ms": late["p99"], "late_max_ms": late["max"], **memory}


def seen(table, count, check):
    """Seconds from the intended time of sending of each event until its row was read."""
    import pyarrow.parquet as parquet

    commits, found, until = Commits(table), {}, time.monotonic() + PATIENCE + count / RATE
    while len(found) < count:
        for path, _ in commits.look():
            ids = parquet.read_table(unquote(str(path)), columns=["trace_id"]).column(0).to_pylist()
            now = time.time()
            # Those of the events that came before are of another form.
            sent = {id: int(id.split("-")[0]) / 1e6 for id in ids if id.index("-") > 8}
            if twice := found.keys() & sent.keys():
                fail(f"{len(twice)} rows of {table} stand there twice")
            found.update({id: now - at for id, at in sent.items()})
        check()
        if time.monotonic() > until:
            fail(f"{table} has {len(found)} of {count} rows")
        time.sleep(0.02)
    return found.values()


def print_table(bench, runs):
    middle = bench.medians(runs)
    memory = {role: max(run[f"rss_mb_{role}"] for run in runs) for role in ROLES}
    print("\n| paced | p50 ms | p95 ms | p99 ms | generator late, p99 ms | peak RSS MB |\n|---|---:|---:|---:|---:|---|")
    used = ", ".join(f"{role} {mb:.0f}" for role, mb in memory.items())
    print("| 1,000 events/s | {p50_ms:.0f} | {p95_ms:.0f} | {p99_ms:.0f} | {late_p99_ms:.1f} |".format(**middle), used, "|")
    if late := [run for run in runs if run["late_p99_ms"] > LATE_MS]:
        bench.says_nothing("paced", f"the generator did not keep its schedule in {len(late)} of {len(runs)} runs")
    bench.goal("paced p50", f"{middle['p50_ms']:.0f} ms", middle["p50_ms"] < GOAL_P50_MS, f"below {GOAL_P50_MS} ms")
    bench.goal("paced p95", f"{middle['p95_ms']:.0f} ms", middle["p95_ms"] < GOAL_P95_MS, f"below {GOAL_P95_MS} ms")
    largest = max(memory.values())
    bench.goal("paced memory", f"{largest:.0f} MB at most", largest < GOAL_RSS_MB, f"below {GOAL_RSS_MB} MB each")
