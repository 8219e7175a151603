"""A bot that counts ticks, and goes on counting after a restart."""

import json
import os
import threading

stopping = threading.Event()


def main(bot_id, config):
    symbol = config.get("symbol", "BTC/USDT")
    interval = float(config.get("interval_seconds", 1))
    ticks = load()
    print(f"{bot_id} watches {symbol}, {ticks} ticks so far")
    while not stopping.wait(interval):
        ticks += 1
        save(ticks)
        print(f"tick {ticks} of {symbol}")
    print(f"stopped after {ticks} ticks")


def on_stop(reason):
    """Called once before the bot is stopped: close orders here."""
    stopping.set()


def state_file():
    folder = os.environ.get("STATE_DIR", "state")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, "ticks.json")


def load():
    try:
        with open(state_file()) as file:
            return json.load(file)
    except FileNotFoundError:
        return 0


def save(ticks):
    # Written beside and renamed, so that a kill in between loses nothing.
    with open(state_file() + ".new", "w") as file:
        json.dump(ticks, file)
    os.replace(state_file() + ".new", state_file())
