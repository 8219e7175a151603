"""A bot with a leak: it keeps every message it ever saw, until it is killed for the memory it takes."""

import time


def main(bot_id, config):
    step = int(config.get("step_mb", 8))
    seen = []
    while True:
        seen.append(b"x" * (step * 1024 * 1024))
        print(f"{bot_id}: holding {len(seen) * step} MB")
        time.sleep(float(config.get("interval_seconds", 0.1)))
