"""A fleet on this machine: one broker, one source per run, the processes of the real binary.

Owns what is started, and ends it. Does not own what is measured.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from measuring import ROOT, fail, free_port

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = """
log: kafka://{broker}
kafka: {{group_prefix: fleet-speed, properties: {{{properties}}}}}
store: ./files
tables: ./tables
download: {{max_in_flight: {in_flight}, per_host: {in_flight}}}
sources:
  - name: {name}
    preset: xact
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
"""


class Broker:
    """A broker of its own, with all that it holds below a directory."""

    def __init__(self, work, kafka_loop):
        self.dir, self.loop, self.started = work / "kafka", kafka_loop, []

    def __enter__(self):
        said = run([ROOT / "dev/kafka", "up", "--dir", self.dir, "--port", "0"])
        self.address = said.split(" answers at ")[1].split()[0]
        self.pid = int((self.dir / "pid").read_text())
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.kill()
        run([ROOT / "dev/kafka", "down", "--dir", self.dir])

    def ask(self, command, *words):
        """Runs `kafka_loop COMMAND BROKER WORDS…` to its end; what it prints."""
        return run([self.loop, command, self.address, *words])

    def start(self, command, *words):
        """The same in the background; `told` waits for it."""
        words = [str(word) for word in (self.loop, command, self.address, *words)]
        self.started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        return self.started[-1]


def told(process):
    """What a background `kafka_loop` has to say at its end."""
    said, _ = process.communicate()
    if process.returncode != 0:
        fail(f"{' '.join(process.args[:2])} failed")
    return json.loads(said)


def run(command):
    ended = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if ended.returncode != 0:
        fail(f"{' '.join(map(str, command))} ended with {ended.returncode}")
    return ended.stdout


class Fleet:
    """A directory with a configuration of one source, its topics, and processes that come and go."""

    def __init__(self, work, name, broker, longshore, in_flight, properties=""):
        self.dir, self.name, self.broker, self.longshore = work / name, name, broker, longshore
        self.in_flight, self.properties, self.processes = in_flight, properties, []

    def __enter__(self):
        self.dir.mkdir()
        words = {"name": self.name, "in_flight": self.in_flight, "properties": self.properties}
        (self.dir / "longshore.yaml").write_text(CONFIG.format(broker=self.broker.address, **words))
        run([self.longshore, "topics", "create", "-c", self.dir / "longshore.yaml", "--json"])
        return self

    def __exit__(self, kind, *_):
        for process in self.processes:
            process.end()
        if kind is None:
            self.broker.ask("delete", f"{self.name}.")
            shutil.rmtree(self.dir)

    def topic(self, what):
        return f"{self.name}.{what}"

    def table(self, which):
        return self.dir / "tables" / f"{self.name}_{which}"

    def start(self, *roles):
        """A process of these roles, or of all."""
        process = Process(self, roles, len(self.processes))
        self.processes.append(process)
        return process


class Process:
    """A running `longshore run`."""

    def __init__(self, fleet, roles, number):
        self.name = ",".join(roles) or "all roles"
        self.log = fleet.dir / f"{number}.log"
        words = [fleet.longshore, "run", "-c", fleet.dir / "longshore.yaml", *(["--role", ",".join(roles)] if roles else [])]
        environment = os.environ | {"LONGSHORE_HTTP__LISTEN": f"127.0.0.1:{free_port()}"}
        with open(self.log, "w") as out:
            self.process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)
        self.started = time.time()

    def used(self):
        """Seconds of CPU so far, and the most memory that was resident, in MB."""
        self.check()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return {"cpu_s": cpu_seconds(self.process.pid), "rss_mb": int(status["VmHWM"].split()[0]) * 1024 / 1e6}

    def said(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def check(self):
        if self.process.poll() is not None:
            fail(f"longshore run ({self.name}) ended with {self.process.returncode}:\n{self.said()}")

    def terminate(self):
        self.process.terminate()

    def kill(self):
        """As a crash would end it."""
        self.process.kill()
        self.process.wait()

    def end(self):
        """Lets it drain; kills it when it does not."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.kill()


def cpu_seconds(pid):
    """What a process has used so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


class Machine:
    """How busy the machine is, by what it has done since it was asked last."""

    def __init__(self):
        self.last = self.read()

    def read(self):
        with open("/proc/stat") as stat:
            numbers = [int(number) for number in stat.readline().split()[1:]]
        return sum(numbers), numbers[3] + numbers[4]

    def busy(self):
        (all, idle), last = self.read(), self.last
        self.last = all, idle
        return 1 - (idle - last[1]) / max(1, all - last[0])


def wait_for_calm(patience):
    """Waits until the machine is nearly idle for two seconds, or patience is over. Returns how busy it was at the end."""
    machine, until = Machine(), time.monotonic() + patience
    while True:
        time.sleep(2)
        busy = machine.busy()
        if busy < 0.1 or time.monotonic() >= until:
            return busy
