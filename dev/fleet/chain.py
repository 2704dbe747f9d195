"""All roles in one process beside the bare download loop.

The events wait in the topic before Longshore starts; the origin, the broker and Longshore share the machine. Timed from the
first task to the last row of `attachments`, and to the last file, which is when the last result is in the log.
"""

import shutil
import subprocess

from fleet.reader import until_rows
from fleet.world import Fleet, cpu_seconds, told, wait_for_calm
from measuring import IN_FLIGHT, SIZES, fail, stored

GOALS = {"10k": 0.45, "100k": 0.65}
# Enough for some seconds: joining the groups and the last commit must not be what is measured.
FILES = {"10k": 120_000, "100k": 60_000}
WARM_UPS = 4
PATIENCE = 180  # seconds


def measure(bench):
    # The broker's code for all that the chain asks of it is compiled while it runs, for half a minute; the bare loop knows no broker.
    for turn in range(WARM_UPS):
        longshore(bench, f"chain-warm-up-{turn}", "10k", bench.scaled(FILES["10k"] // 2))
    runs = []
    for size in bench.sizes:
        count = bench.scaled(FILES[size])
        for turn in range(bench.rounds):
            for program, run in (("bare", bare), ("longshore", longshore)):
                busy = wait_for_calm(bench.calm)
                facts = run(bench, f"chain-{size}-{turn}", size, count)
                runs.append({"size": size, "program": program, "round": turn, "busy_before": busy, **facts})
                bench.say(f"chain {size} {turn + 1}/{bench.rounds} {program}: {facts['files_per_s']:,.0f} files/s")
    return runs


def bare(bench, name, size, count):
    to = bench.work / f"{name}-bare"
    to.mkdir()
    urls = bench.origin.urls(size, count)
    said = subprocess.run([bench.yardstick, urls, to, str(IN_FLIGHT)], stdout=subprocess.PIPE, text=True, check=True).stdout
    if stored(to, SIZES[size][0]) != count:
        fail(f"the bare loop left {to} incomplete: {said}")
    shutil.rmtree(to)
    return {"files_per_s": count / float(said.split(" bytes in ")[1].split()[0])}


def longshore(bench, name, size, count):
    with Fleet(bench.work, name, bench.broker, bench.longshore, IN_FLIGHT) as fleet:
        broker = bench.broker
        broker.ask("fill", fleet.topic("events.raw"), count, bench.origin.url(size))
        tasks, results = (broker.start("watch", fleet.topic(f"downloads.{of}"), count, PATIENCE) for of in ("pending", "results"))
        process, broker_before = fleet.start(), cpu_seconds(broker.pid)
        last_row = until_rows(fleet.table("attachments"), count, PATIENCE, process.check)
        used = process.used()
        begun, last_file = told(tasks)["first"]["at"], told(results)["last"]["at"]
        if (there := stored(fleet.dir / "files", SIZES[size][0])) != count:
            fail(f"{there} of {count} files are there")
        return {
            "files_per_s": count / (last_row - begun),
            "files_per_s_to_last_file": count / (last_file - begun),
            "seconds_before": begun - process.started,
            "cpu_s_per_1000": used["cpu_s"] / count * 1000,
            "broker_cpu_s_per_1000": (cpu_seconds(broker.pid) - broker_before) / count * 1000,
            "rss_mb": used["rss_mb"],
        }


def print_table(bench, runs):
    print("\n| chain | program | files/s to the last row | of bare | to the last file ", end="")
    print("| CPU s per 1,000 files | the broker's | peak RSS MB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for size in bench.sizes:
        bare, ours = (bench.medians(runs, size=size, program=program) for program in ("bare", "longshore"))
        share = ours["files_per_s"] / bare["files_per_s"]
        print(f"| {size} | bare | – | 100% | {bare['files_per_s']:,.0f} | – | – | – |")
        print(
            f"| {size} | longshore | {ours['files_per_s']:,.0f} | {share:.0%} | {ours['files_per_s_to_last_file']:,.0f} "
            f"| {ours['cpu_s_per_1000']:.3f} | {ours['broker_cpu_s_per_1000']:.3f} | {ours['rss_mb']:.0f} |"
        )
        bench.goal(f"chain {size}", f"{share:.0%} of the bare loop", share >= GOALS[size], f"at least {GOALS[size]:.0%}")
