"""The life of real bots, from outside: started, killed, changed, explained, adopted, stopped.

Uses nothing but the command line tool, as a person would, and `kill`. Every step waits for what it claims and fails the
demo if it does not see it in time.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(tempfile.gettempdir()) / f"the0-demo-{os.getuid()}"
STEP_S = 60

COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ
BOLD, DIM, GREEN, RED, RESET = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if COLOURS else ("",) * 5


class DemoFailed(Exception):
    """Something promised was not seen."""


class Demo:
    """One service, its bots, and the times measured."""

    def __init__(self, runtime, executor):
        self.runtime, self.executor = runtime, executor
        self.address = f"127.0.0.1:{free_port()}"
        self.env = {**os.environ, "THE0_SERVER": f"http://{self.address}"}
        self.service = None
        self.bots = []
        self.rows = []

    # --- the service

    def start_service(self):
        log = (DATA / "service.log").open("a")
        arguments = ["dev", "--data-dir", DATA / "data", "--listen", self.address, "--executor", self.executor]
        began = time.monotonic()
        self.service = subprocess.Popen([self.runtime, *arguments], stdout=log, stderr=log, start_new_session=True)
        self.until("the service answers", lambda: self.run("status", check=False).returncode == 0 or self.alive())
        return time.monotonic() - began

    def alive(self):
        if self.service.poll() is not None:
            raise DemoFailed(f"the service ended: {(DATA / 'service.log').read_text()[-2000:]}")
        return False

    def kill_service(self):
        self.service.kill()
        self.service.wait()

    def stop_service(self):
        if self.service and self.service.poll() is None:
            self.service.terminate()
            self.service.wait(timeout=STEP_S)

    # --- the tool

    def run(self, *words, check=True):
        done = subprocess.run([self.runtime, *map(str, words)], env=self.env, capture_output=True, text=True, timeout=STEP_S * 2)
        if check and done.returncode != 0:
            raise DemoFailed(f"runtime {' '.join(map(str, words))} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def json(self, *words):
        return json.loads(self.run(*words, "--json").stdout)

    def status(self, bot):
        return self.json("bots", "status", bot)

    def deploy(self, folder, *more, wait=True):
        began = time.monotonic()
        self.bots.append(folder)
        self.run("bots", "deploy", ROOT / "examples" / folder, *more, *(["--wait"] if wait else []))
        return time.monotonic() - began

    def until(self, what, seen, limit=STEP_S):
        deadline = time.monotonic() + limit
        while not (found := seen()):
            if time.monotonic() > deadline:
                raise DemoFailed(f"not seen within {limit} s: {what}")
            time.sleep(0.02)
        return found

    def running(self, bot, attempt_after=0):
        def look():
            status = self.status(bot)
            return status if status["phase"] == "running" and status["attempt"] > attempt_after else None

        return self.until(f"{bot} runs, attempt after {attempt_after}", look)

    def follow(self, bot, wanted, tail=20):
        """Follows the log until a line contains `wanted`; shows what it saw."""
        command = [self.runtime, "bots", "logs", "-f", "--tail", str(tail), bot]
        follower = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, text=True)
        signal.setitimer(signal.ITIMER_REAL, STEP_S)
        try:
            shown = 0
            for line in follower.stdout:
                hit = wanted in line
                if hit or shown < 3:
                    say(f"  {DIM}{line.rstrip()[:100]}{RESET}")
                    shown += 1
                if hit:
                    return line
            raise DemoFailed(f"the log of {bot} ended without {wanted!r}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            follower.kill()
            follower.wait()

    def why(self, bot):
        for line in self.run("bots", "why", bot).stdout.rstrip().splitlines()[:12]:
            say(f"  {DIM}{line}{RESET}")

    def note(self, step, seconds=None, text=""):
        shown = f"{seconds:.2f} s" if seconds is not None else ""
        self.rows.append((step, shown, text))
        say(f"{GREEN}ok{RESET} {step} {shown} {text}")


def steps(demo):
    heading("Start: one command, nothing else running")
    demo.note("service answers", demo.start_service())
    service = demo.json("status")
    say(f"  executor: {service['executor']} {service['executor_version']}, store: {service['store']}")
    for one in service["protections"]:
        if not one["active"]:
            say(f"  not in force here: {one['name']} ({one['detail']})")

    heading("Deploy: a Python bot" + (" and a Node bot" if demo.node else ""))
    demo.note("python-sma deployed, up for a second", demo.deploy("python-sma"))
    if demo.node:
        demo.note("node-alerts deployed, up for a second", demo.deploy("node-alerts"))
    else:
        demo.note("node-alerts", text="left out: no Node 20 on this machine")
    demo.follow("python-sma", "tick 3:")
    if demo.node:
        demo.follow("node-alerts", "price")
    demo.note("their output is followed")

    heading("Kill -9 the Python bot's process")
    before = demo.status("python-sma")
    began = time.monotonic()
    kill(bot_process(before["pid"]))
    back = demo.running("python-sma", before["attempt"])
    took = time.monotonic() - began
    exit_ = back["last_exit"]
    if exit_["cause"] != "killed" or exit_["signal"] != 9:
        raise DemoFailed(f"the reason is not the kill: {exit_}")
    demo.why("python-sma")
    demo.note("back after kill -9", took, f"attempt {back['attempt']}, was: {exit_['summary']}")

    heading("Change its configuration: restarted with the new one, its state kept")
    before = demo.status("python-sma")
    began = time.monotonic()
    demo.run("bots", "config", "set", "python-sma", "fast=7", "interval_seconds=0.2")
    after = demo.running("python-sma", before["attempt"])
    took = time.monotonic() - began
    line = demo.follow("python-sma", "fast 7", tail=1000)
    ticks = int(line.rsplit("tick", 1)[1])
    if ticks < 3:
        raise DemoFailed(f"the state was lost: {line}")
    demo.note("new configuration runs", took, f"attempt {after['attempt']}, went on from tick {ticks}")

    heading("Two bots that fail: why?")
    demo.deploy("oom", wait=False)
    demo.deploy("crash", "--set", "after_seconds=0.5", wait=False)
    # Without a control group to limit memory, as for a user without privileges, Python meets its limit by itself.
    expected = {"oom": [("out_of_memory", ""), ("failed", "MemoryError")], "crash": [("failed", "ValueError")]}
    for bot, ends in expected.items():
        seen = demo.until(f"{bot} ends", lambda bot=bot: demo.status(bot)["last_exit"])
        if not any(seen["cause"] == cause and word in seen["message"] for cause, word in ends):
            raise DemoFailed(f"{bot}: expected one of {ends}, saw {seen['summary']}")
        demo.why(bot)
        demo.note(f"{bot} explained", text=seen["summary"][:70])

    heading("Kill -9 the service and start it again: the bots do not notice")
    living = ["python-sma"] + (["node-alerts"] if demo.node else [])
    pids = {bot: demo.status(bot)["pid"] for bot in living}
    demo.kill_service()
    if not all(exists(pid) for pid in pids.values()):
        raise DemoFailed("a bot died with the service")
    took = demo.start_service()
    again = {bot: demo.running(bot)["pid"] for bot in living}
    if pids != again:
        raise DemoFailed(f"not the same processes: {pids} before, {again} after")
    demo.note("service back, bots adopted", took, f"same pids {sorted(again.values())}")

    heading("Stop everything")
    began = time.monotonic()
    for bot in demo.bots:
        demo.run("bots", "stop", bot)
    if any(exists(pid) for pid in pids.values()):
        raise DemoFailed("a process is still there")
    demo.note("all stopped, no process left", time.monotonic() - began)


def bot_process(agent):
    """The bot itself: the child of its supervisor, whose process id the tool shows."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    if not children:
        raise DemoFailed(f"process {agent} has no child")
    return int(children[0])


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        subprocess.run(["sudo", "kill", "-9", str(pid)], check=True)


def exists(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def line_is_late(*_):
    raise DemoFailed(f"the log showed no such line within {STEP_S} s")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def say(text):
    print(text, flush=True)


def heading(text):
    say(f"\n{BOLD}{text}{RESET}")


def node_available(executor):
    if executor == "docker":
        return True
    node = shutil.which("node")
    if not node:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip().lstrip("v")
    return version.split(".")[0].isdigit() and int(version.split(".")[0]) >= 20


def clean(demo):
    """Removes every bot and the service; says so if something stays."""
    if demo.service is None:
        return
    if demo.service.poll() is not None:
        demo.start_service()
    for bot in demo.json("bots", "ls"):
        demo.run("bots", "rm", "--yes", bot["id"], check=False)
    demo.stop_service()
    remove(DATA)


def remove(folder):
    """Unpacked code is read-only, its folders too, so only root could remove it as it is."""
    for here, _, _ in os.walk(folder):
        os.chmod(here, 0o700)
    shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", default="auto")
    parser.add_argument("--runtime", default=str(ROOT / "bin" / "runtime"))
    parser.add_argument("--clean", action="store_true", help="remove what an interrupted demo left behind")
    options = parser.parse_args()
    demo = Demo(options.runtime, options.executor)
    demo.node = node_available(options.executor)
    signal.signal(signal.SIGALRM, line_is_late)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.clean:
        if DATA.exists():
            demo.start_service()
            clean(demo)
        return 0
    if DATA.exists():
        say(f"{DATA} is left over from an earlier demo: run `make clean-demo` first")
        return 1
    DATA.mkdir(mode=0o700)
    failed = None
    try:
        steps(demo)
    except DemoFailed as fault:
        failed = fault
    finally:
        clean(demo)
    heading("Summary")
    width = max(len(row[0]) for row in demo.rows) if demo.rows else 0
    for step, seconds, text in demo.rows:
        say(f"  {step:<{width}}  {seconds:>8}  {text}")
    if failed:
        say(f"\n{RED}demo failed:{RESET} {failed}")
        return 1
    say(f"\n{GREEN}every step was seen{RESET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
