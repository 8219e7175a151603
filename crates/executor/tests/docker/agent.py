#!/usr/bin/env python3
"""Stands in for the agent: these tests are about what is around it."""
import json, os, signal, subprocess, sys, time

spec = json.load(open("/var/the0/in/unit.json"))
begun = time.monotonic()
stopped, children = [], []
signal.signal(signal.SIGTERM, lambda *_: (stopped.append(1), [child.terminate() for child in children]))
children.append(subprocess.Popen([sys.executable, "/bot/" + spec["entrypoint"]], cwd="/bot"))
open("/var/the0/attempt/ready", "w").write("1\n")
code = children[0].wait()
record = {
    "cause": "stopped" if stopped else "failed" if code else "completed",
    "code": code if code >= 0 else None,
    "signal": -code if code < 0 else None,
    "message": None,
    "result": None,
    "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "ran_ms": int((time.monotonic() - begun) * 1000),
    "peak_memory_bytes": None,
    "last_lines": [],
}
with open("/var/the0/attempt/exit.new", "w") as out:
    json.dump(record, out)
os.rename("/var/the0/attempt/exit.new", "/var/the0/attempt/exit.json")
sys.exit(0)
