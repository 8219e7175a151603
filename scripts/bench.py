"""The part of scripts/bench.sh that needs no Rust: `reconcile` judges the benchmark of a quiet pass; `service` measures
from outside what people wait for: memory and rest of an idle service, log lines, a killed bot's return, a change.

    scripts/bench.py reconcile|service [--runtime bin/runtime] [--executor sandbox|docker] [--quick] [--check]
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOT = """\
import time

def main(bot_id, config):
    while True:
        print(time.clock_gettime_ns(time.CLOCK_REALTIME), config.get("mark", 0))
        time.sleep(config["interval_seconds"])
"""
MANIFEST = """\
name: bench
version: 1.0.0
runtime: python3.11
type: realtime/bench
entrypoints: { bot: main.py }
config: { interval_seconds: 3600 }
limits: { memory_mb: 128, cpu_millis: 1000, pids: 64 }
"""
OTHERS_MAX = 0.25
PATIENCE_S = 60
TRIES = 3


class Judge:
    """Prints rows; remembers what was missed and what could not be judged."""

    def __init__(self):
        self.missed = self.noisy_rows = 0
        self.noisy = False

    def quietly(self, measure):
        """Measures on a quiet machine, again if it was not quiet afterwards; `noisy` says if no try was."""
        for _ in range(TRIES):
            quiet = wait_for_quiet()
            measured = measure()
            self.noisy = not (quiet and others() <= OTHERS_MAX)
            if not self.noisy:
                break
        return measured

    def row(self, name, value, unit, target=None, note="", timed=True):
        if target is None:
            verdict = "-"
        elif timed and self.noisy:
            verdict = "not judged: others use more than a quarter of the CPU"
            self.noisy_rows += 1
        elif value <= target:
            verdict = "ok"
        else:
            verdict = "MISSED"
            self.missed += 1
        shown = "-" if target is None else f"<= {target:g} {unit}"
        print(f"| {name:<44} | {value:>8.1f} {unit:<2} | {note:>11} | {'':>8} | {shown:>9} | {verdict}", flush=True)


def others():
    """Which part of the processor is in use while this does nothing."""

    def ticks():
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    before = ticks()
    time.sleep(1)
    after = ticks()
    return 1 - (after[1] - before[1]) / max(1, after[0] - before[0])


def wait_for_quiet():
    end = time.monotonic() + PATIENCE_S
    while others() > OTHERS_MAX:
        if time.monotonic() > end:
            return False
    return True


class Service:
    """A service of its own, in a folder of its own."""

    def __init__(self, runtime, executor):
        self.runtime, self.executor = str(Path(runtime).resolve()), executor
        self.folder = Path(tempfile.mkdtemp(prefix="the0-bench-"))
        self.folder.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.env = {**os.environ, "THE0_SERVER": f"http://{self.address}"}
        self.process = None
        source = self.folder / "bot"
        source.mkdir()
        (source / "main.py").write_text(BOT)
        (source / "bot.yaml").write_text(MANIFEST)

    def start(self):
        """Seconds until it answers a request."""
        log = (self.folder / "service.log").open("a")
        # Rings alone cause passes: the periodic look would come in between.
        words = ["dev", "--data-dir", self.folder / "data", "--listen", self.address, "--executor", self.executor]
        words += ["--reconcile-interval", "1h"]
        began = time.monotonic()
        self.process = subprocess.Popen([self.runtime, *map(str, words)], stdout=log, stderr=log, start_new_session=True)
        host, port = self.address.split(":")
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                self.run("status")
                return time.monotonic() - began
            except (OSError, subprocess.CalledProcessError):
                if self.process.poll() is not None or time.monotonic() > began + PATIENCE_S:
                    raise SystemExit(f"the service does not start: {(self.folder / 'service.log').read_text()[-2000:]}")
                time.sleep(0.002)

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=PATIENCE_S)

    def run(self, *words):
        done = subprocess.run(
            [self.runtime, *map(str, words)], env=self.env, capture_output=True, text=True, timeout=2 * PATIENCE_S
        )
        if done.returncode != 0:
            error = subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
            error.add_note(done.stderr)
            raise error
        return done.stdout

    def json(self, *words):
        return json.loads(self.run(*words, "--json"))

    def deploy(self, bot, **config):
        self.run("bots", "deploy", self.folder / "bot", "--id", bot, "--set", "mark=0", *sets(config), "--wait")

    def memory(self):
        """Resident memory now and at most, in MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
        return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024

    def cpu(self):
        """Processor time used so far, in seconds, by threads that have ended too: the kernel's clock of that process."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def clean(self):
        if self.process and self.process.poll() is None:
            for bot in self.json("bots", "ls"):
                self.run("bots", "rm", "--yes", bot["id"])
            self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Follower:
    """`logs -f` of a bot: what it printed and when that arrived, in nanoseconds of the wall clock."""

    def __init__(self, service, bot):
        words = [service.runtime, "bots", "logs", "-f", bot]
        self.process = subprocess.Popen(words, env=service.env, stdout=subprocess.PIPE)
        self.lines = []
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            at = time.time_ns()
            words = line.split()
            if len(words) == 2 and words[0].isdigit():
                with self.changed:
                    self.lines.append((at, int(words[0]), int(words[1])))
                    self.changed.notify_all()

    def wait(self, seen):
        """Waits for a first line that fits."""
        with self.changed:
            if not self.changed.wait_for(lambda: any(map(seen, self.lines)), PATIENCE_S):
                raise SystemExit(f"no such line within {PATIENCE_S} s")
            return next(filter(seen, self.lines))

    def close(self):
        self.process.kill()
        self.process.wait()


def sets(config):
    return [word for key, value in config.items() for word in ("--set", f"{key}={value}")]


def log_latency(service, lines):
    service.deploy("talker", interval_seconds=0.02)
    follower = Follower(service, "talker")
    follower.wait(lambda line: True)
    # What was there before it followed is not late.
    began = time.time_ns()
    follower.wait(lambda line: sum(one[1] > began for one in follower.lines) >= lines)
    follower.close()
    service.run("bots", "rm", "--yes", "talker")
    return sorted((at - printed) / 1e6 for at, printed, _ in follower.lines if printed > began)


def returns(service, bots):
    """Killed bots, each for the first time: milliseconds until the next attempt's first line is on the screen."""
    took = []
    for bot in bots:
        follower = Follower(service, bot)
        follower.wait(lambda line: True)
        supervisor = service.json("bots", "status", bot)["pid"]
        victim = int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])
        began = time.time_ns()
        os.kill(victim, signal.SIGKILL)
        at, _, _ = follower.wait(lambda line, began=began: line[1] > began)
        took.append((at - began) / 1e6)
        follower.close()
    return took


def changes(service, bots, mark):
    """Milliseconds from `config set` to the first line with the new configuration on the screen."""
    took = []
    for bot in bots:
        follower = Follower(service, bot)
        follower.wait(lambda line: True)
        began = time.time_ns()
        service.run("bots", "config", "set", bot, f"mark={mark}")
        at, _, _ = follower.wait(lambda line: line[2] == mark)
        took.append((at - began) / 1e6)
        follower.close()
    return took


def reconcile(judge):
    """Wall clock time of a pass on one thread, which is no less than its CPU time."""
    command = ["cargo", "bench", "--quiet", "--package", "the0-core", "--bench", "reconcile"]
    shown = judge.quietly(lambda: subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)
    # ╰─ 10000  1.2 ms │ 3.4 ms │ 1.3 ms │ …: fastest, slowest, median
    line = next(line for line in shown.splitlines() if re.search(r"[├╰]─ 10000\b", line))
    number, unit = line.split("│")[2].split()
    judge.row("a pass without changes over 10,000 units", float(number) * {"s": 1e3, "ms": 1, "µs": 1e-3}[unit], "ms", 5)


def service(judge, options):
    """Everything that needs a service, which is gone afterwards."""
    one = Service(options.runtime, options.executor)
    try:
        bench(one, judge, options.quick)
    finally:
        one.clean()


def bench(service, judge, quick):
    starts = 3 if quick else 7
    count = 5 if quick else 10

    def start():
        took = []
        for _ in range(starts):
            if service.process:
                service.end()
            took.append(service.start() * 1000)
        return took

    where = service.executor
    judge.row(f"{where}: `runtime dev` answers", statistics.median(judge.quietly(start)), "ms")
    time.sleep(2)
    now, most = service.memory()
    judge.row(f"{where}: idle `runtime dev`", now, "MB", 60, f"max {most:.1f}", timed=False)

    bots = [f"b{number}" for number in range(count)]
    took = []
    for bot in bots:
        began = time.monotonic()
        service.deploy(bot)
        took.append((time.monotonic() - began) * 1000)
    judge.row(f"{where}: deploy until it runs", statistics.median(took), "ms")

    lines = judge.quietly(lambda: log_latency(service, 60 if quick else 300))
    late = lines[int(len(lines) * 0.99)]
    judge.row(f"{where}: a line from bot to `logs -f`, median", statistics.median(lines), "ms", 50)
    judge.row(f"{where}: a line from bot to `logs -f`, p99", late, "ms", 50)

    seconds = 3 if quick else 10
    time.sleep(2)
    passes, before = service.json("status")["passes"], service.cpu()
    time.sleep(seconds)
    spent = (service.cpu() - before) * 1000 / seconds
    again = service.json("status")["passes"]
    if passes != again:
        print(f"passes while nothing rang: {passes} before, {again} after", file=sys.stderr)
        judge.missed += 1
    judge.row(f"{where}: CPU of a second at rest, {count} bots", spent, "ms", 1, "no passes" if passes == again else "passes!")

    numbers = iter(range(1, 100))
    judge.row(
        f"{where}: `config set` until its first line",
        statistics.median(judge.quietly(lambda: changes(service, bots, next(numbers)))),
        "ms",
    )
    # Once: a second death is followed by a longer wait.
    wait_for_quiet()
    took = returns(service, bots)
    judge.noisy = others() > OTHERS_MAX
    judge.row(f"{where}: killed bot until its first line", statistics.median(took), "ms", 2000, f"max {max(took):.0f}")
    now, most = service.memory()
    judge.row(f"{where}: `runtime dev` after all that, {count} bots", now, "MB", 60, f"max {most:.1f}", timed=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["reconcile", "service"])
    parser.add_argument("--runtime", default=ROOT / "bin" / "runtime")
    parser.add_argument("--executor", default="sandbox", choices=["sandbox", "docker"])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--check", action="store_true", help="end with 1 after a miss, 2 if something was not judged")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    judge = Judge()
    if options.what == "reconcile":
        reconcile(judge)
    else:
        service(judge, options)
    if not options.check:
        return 0
    return 1 if judge.missed else 2 if judge.noisy_rows else 0


if __name__ == "__main__":
    sys.exit(main())
