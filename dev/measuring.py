"""What dev/speed and dev/fleet-speed share: the origin, the processes and what they use, the machine.

Owns no figures and no programs to measure; each script says what it compares.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_FLIGHT = 64
# Name: bytes of a file, and how many make a run.
SIZES = {"10k": (10_000, 60_000), "100k": (100_000, 30_000), "1m": (1_000_000, 3_000), "100m": (100_000_000, 200)}


def fail(text):
    sys.exit(f"{Path(sys.argv[0]).name}: {text}")


def memory_or_temporary():
    """Where files go by default: into memory, where there is such a file system."""
    return Path("/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir())


def cargo(*args):
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", *map(str, args)], check=True)


class Origin:
    """nginx on a free loopback port. `seen` is where it writes a line `SECONDS PATH` for each request, if anywhere."""

    def __init__(self, work, seen=None):
        self.dir, self.port, self.process, self.seen = work / "origin", free_port(), None, seen

    def __enter__(self):
        nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if not nginx:
            fail("nginx is not installed; on Debian: apt-get install nginx-light")
        (self.dir / "www").mkdir(parents=True)
        for name, (size, _) in SIZES.items():
            make_file(self.dir / "www" / f"{name}.bin", size)
        config = (Path(__file__).parent / "speed.nginx.conf").read_text()
        user = "user root;" if os.geteuid() == 0 else ""
        access = f"{self.seen} seen" if self.seen else "off"
        for word, value in {"@DIR@": self.dir, "@PORT@": self.port, "@USER@": user, "@ACCESS@": access}.items():
            config = config.replace(word, str(value))
        (self.dir / "nginx.conf").write_text(config)
        self.process = subprocess.Popen([nginx, "-p", self.dir, "-c", self.dir / "nginx.conf", "-e", self.dir / "error.log"])
        wait_for_port(self.port, self.process)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=10)

    def url(self, size):
        """Where files of this size are; any name below it will do."""
        return f"http://127.0.0.1:{self.port}/{size}"

    def urls(self, size, count):
        """A file with one URL a line; every name differs, as it would in life."""
        path = self.dir / f"{size}-{count}.txt"
        path.write_text("".join(f"{self.url(size)}/{n:07}.bin\n" for n in range(count)))
        return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    for _ in range(100):
        if process.poll() is not None:
            fail(f"nginx ended with {process.returncode}")
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
    fail(f"nginx does not answer on port {port}")


def make_file(path, size):
    with open(path, "wb") as file:
        if size <= 1_000_000:
            file.write(b"\xaa" + os.urandom(size - 1))  # no known type begins like this
        file.truncate(size)


class Peak:
    """The high-water mark of a process's resident memory, read from /proc. (rusage would count our own before exec.)"""

    def __init__(self, pid):
        self.path, self.bytes, self.ended = f"/proc/{pid}/status", 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.ended.wait(0.01):
            try:
                with open(self.path) as status:
                    marks = [line.split()[1] for line in status if line.startswith("VmHWM:")]
            except (FileNotFoundError, ProcessLookupError):
                return
            self.bytes = max([self.bytes, *(int(kib) * 1024 for kib in marks)])

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.bytes


def stored(to, bytes_each):
    """Complete files below a directory, without Longshore's tables and state."""
    files = (Path(dir) / name for dir, _, names in os.walk(to) for name in names)
    return sum(1 for file in files if file.stat().st_size == bytes_each)


def memory_backed(path):
    return filesystem(path) in ("tmpfs", "ramfs")


def filesystem(path):
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True)
    return kind.stdout.strip() or "unknown"


def machine(dir):
    return {"cores": os.cpu_count(), "kernel": os.uname().release, "arch": os.uname().machine, "filesystem": filesystem(dir)}
