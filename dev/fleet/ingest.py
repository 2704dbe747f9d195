"""Ingest beside the bare loop consume → parse → produce, which checks nothing and remembers nothing.

The same events for both, in a topic filled in advance; timed from the first record produced to the last.
"""

import json

from fleet.world import Fleet, told, wait_for_calm
from measuring import IN_FLIGHT

GOAL = 0.60
EVENTS = 300_000
PATIENCE = 180  # seconds


def measure(bench):
    count, runs = bench.scaled(EVENTS), []
    for turn in range(bench.rounds):
        for program, run in (("bare", bare), ("longshore", longshore)):
            busy = wait_for_calm(bench.calm)
            facts = {"program": program, "round": turn, "busy_before": busy, **run(bench, f"ingest-{program}-{turn}", count)}
            bench.say(f"ingest {turn + 1}/{bench.rounds} {program}: {facts['events_per_s']:,.0f} events/s")
            runs.append(facts)
    return runs


def bare(bench, name, count):
    broker, from_, to = bench.broker, f"{name}.in", f"{name}.out"
    broker.ask("create", 12, from_, to)
    broker.ask("fill", from_, count, bench.origin.url("10k"))
    facts = json.loads(broker.ask("copy", from_, to, count))
    broker.ask("delete", name)
    return {"events_per_s": facts["events_per_s"]}


def warm_up(bench):
    """A broker that has just started is slow: its code is compiled while it runs."""
    bare(bench, "warm-up", EVENTS)


def longshore(bench, name, count):
    with Fleet(bench.work, name, bench.broker, bench.longshore, IN_FLIGHT) as fleet:
        broker = bench.broker
        broker.ask("fill", fleet.topic("events.raw"), count, bench.origin.url("10k"))
        watch = broker.start("watch", fleet.topic("downloads.pending"), count, PATIENCE)
        process = fleet.start("ingest")
        seen = told(watch)
        used, first, last = process.used(), seen["first"], seen["last"]
        per_s = (last["count"] - first["count"]) / (last["at"] - first["at"])
        return {"events_per_s": per_s, "cpu_s_per_1000": used["cpu_s"] / count * 1000, "rss_mb": used["rss_mb"]}


def print_table(bench, runs):
    print("\n| ingest | events/s | of bare | CPU s per 1,000 events | peak RSS MB |\n|---|---:|---:|---:|---:|")
    bare, ours = (bench.medians(runs, program=program) for program in ("bare", "longshore"))
    share = ours["events_per_s"] / bare["events_per_s"]
    print(f"| bare | {bare['events_per_s']:,.0f} | 100% | – | – |")
    print(f"| longshore | {ours['events_per_s']:,.0f} | {share:.0%} | {ours['cpu_s_per_1000']:.4f} | {ours['rss_mb']:.0f} |")
    bench.goal("ingest", f"{share:.0%} of the bare loop", share >= GOAL, f"at least {GOAL:.0%}")
