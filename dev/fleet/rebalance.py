"""Download workers 3 → 2 → 3 under load: what a clean leave, a join and a kill cost.

Events arrive on a schedule; half of the files take a second, so that there is always something under way. A completed
download is a record of the topic of results, at the time at which it was appended. For the kill each partition is looked at
by itself (those of the killed worker are among them), else the group as a whole. Repeats are GETs of a path that the origin
has answered before: what was under way, and what was done above an unfinished download, at most the windows of the killed
worker's partitions.
"""

import time
from collections import Counter

from fleet.reader import until_rows
from fleet.world import Fleet, told, wait_for_calm
from measuring import fail

RATE, IN_FLIGHT, PARTITIONS = 400, 128, 12
WINDOW = 1_024  # offsets of a partition that may be under way or done above an unfinished one
SESSION_S = 6
FIRST = 500  # events that come before
STEP_S = 15  # from one step to the next; more than a session and its rebalance take
GOAL_S = {"leave": 3, "join": 3, "kill": SESSION_S + 3, "join after kill": 3}
PATIENCE = 180  # seconds


def measure(bench):
    runs = []
    for turn in range(bench.rounds):
        busy = wait_for_calm(bench.calm)
        for step, facts in run(bench, f"rebalance-{turn}").items():
            runs.append({"step": step, "round": turn, "busy_before": busy, **facts})
            bench.say("rebalance {}/{} {}: {gap_s:.2f} s, {repeated} repeated".format(turn + 1, bench.rounds, step, **facts))
    return runs


def run(bench, name):
    properties = f"session.timeout.ms: '{SESSION_S * 1000}'"
    with Fleet(bench.work, name, bench.broker, bench.longshore, IN_FLIGHT, properties) as fleet:
        others, workers = fleet.start("ingest", "retry", "record"), [fleet.start("download") for _ in range(3)]
        steps = {
            "leave": lambda: workers.pop().terminate(),
            "join": lambda: workers.append(fleet.start("download")),
            "kill": lambda: workers.pop(0).kill(),
            "join after kill": lambda: workers.append(fleet.start("download")),
        }
        begun, count = time.time(), RATE * STEP_S * (len(steps) + 1)
        url = f"{bench.origin.url('slow')}/{name}"
        check = lambda: [process.check() for process in (others, *workers)]
        bench.broker.ask("fill", fleet.topic("events.raw"), FIRST, url, 10**8)
        until_rows(fleet.table("attachments"), FIRST, PATIENCE, check)
        generator = bench.broker.start("pace", fleet.topic("events.raw"), RATE, STEP_S * (len(steps) + 1), url)
        taken = {}
        for step, act in steps.items():
            time.sleep(STEP_S)
            taken[step] = time.time()
            act()
        late = told(generator)["late_ms"]["p99"]
        until_rows(fleet.table("attachments"), FIRST + count, PATIENCE, check)
        done = completed(bench.broker.ask("times", fleet.topic("downloads.results"), PARTITIONS))
        again = repeated(bench.origin.seen, name, FIRST + count)
    return {step: facts(step, at, done, again) | {"late_p99_ms": late} for step, at in taken.items()}


def completed(said):
    """(seconds, partition) of each download that was completed, in order."""
    return sorted((int(line.split()[0]) / 1e3, int(line.split()[1])) for line in said.splitlines())


def repeated(log, name, count):
    """When paths were asked for that had been asked for before."""
    asked, again = Counter(), []
    for line in log.read_text().splitlines():
        at, path = line.split()
        if f"/{name}/" in path:
            asked[path] += 1
            again += [float(at)] if asked[path] > 1 else []
    if len(asked) != count:
        fail(f"the origin was asked for {len(asked)} files of {count}")
    return again


def facts(step, at, done, again):
    """The longest pause in the time after a step, and what was downloaded again in it."""
    until = at + STEP_S
    times = lambda wanted: [when for when, partition in done if at < when < until and partition in wanted]
    each = [{n} for n in range(PARTITIONS)] if step == "kill" else [set(range(PARTITIONS))]
    gaps = (longest_gap([at, *times(wanted), until]) for wanted in each)
    return {"gap_s": max(gaps), "repeated": sum(at < when < until for when in again)}


def longest_gap(times):
    return max(later - earlier for earlier, later in zip(times, times[1:]))


def print_table(bench, runs):
    print("\n| rebalance | longest pause s (worst run) | repeated downloads (worst run) |\n|---|---:|---:|")
    for step, goal in GOAL_S.items():
        meant = [run for run in runs if run["step"] == step]
        gap, again = max(run["gap_s"] for run in meant), max(run["repeated"] for run in meant)
        print(f"| {step} | {gap:.2f} | {again} |")
        bench.goal(f"{step}, pause", f"{gap:.2f} s", gap < goal, f"below {goal} s")
        bench.goal(f"{step}, repeats", f"{again}", again <= WINDOW, f"at most {WINDOW:,}, one partition's window")
