"""A paper-trading bot: in the market while the fast moving average is above the slow one, out of it otherwise.

It needs no network: it reads a bundled price series, one price per interval, round and round. After every price
it saves where it stands, so it goes on from there after a crash, a stop or a change of its configuration.
"""

import csv
import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path

PRICES = Path(__file__).parent / "prices.csv"
STATE = Path(os.environ.get("STATE_DIR", "state")) / "sma.json"
CAPITAL = 10_000.0

stop_reason = None


def main(bot_id, config):
    """Runs until it is stopped. The runtime calls it with the bot's id and its configuration."""
    fast, slow, interval = settings(config)
    prices = load_prices()
    state = load_state()
    print(f"{bot_id}: fast {fast}, slow {slow}, {len(prices)} prices, from tick {state['ticks']}")

    while stop_reason is None:
        price = prices[state["ticks"] % len(prices)]
        fast_average = average(prices, state["ticks"], fast)
        slow_average = average(prices, state["ticks"], slow)
        state = trade(state, price, in_market=fast_average > slow_average)
        save_state(state)
        value = state["cash"] + state["units"] * price
        print(f"tick {state['ticks']}: price {price:.2f}, fast {fast_average:.2f}, slow {slow_average:.2f}")
        metric("portfolio", value=round(value, 2), price=price, trades=state["trades"])
        pause(interval)

    save_state(state)
    print(f"stopped ({stop_reason}): {state['trades']} trades in {state['ticks']} ticks, saved")


def on_stop(reason):
    """Called by the runtime when the bot has to stop. It interrupts main anywhere, so it only leaves a note."""
    global stop_reason
    stop_reason = reason


def trade(before, price, in_market):
    """Returns the state after this price: bought, sold or unchanged. The old state is left as it is."""
    after = {**before, "ticks": before["ticks"] + 1}
    if in_market and before["units"] == 0:
        after.update(units=before["cash"] / price, cash=0.0, trades=before["trades"] + 1)
        print(f"BUY {after['units']:.4f} at {price:.2f}")
    elif not in_market and before["units"] > 0:
        after.update(cash=before["units"] * price, units=0.0, trades=before["trades"] + 1)
        print(f"SELL {before['units']:.4f} at {price:.2f}")
    return after


def average(prices, tick, length):
    """The mean of the last prices up to this tick; the series has no beginning and no end."""
    return sum(prices[(tick - back) % len(prices)] for back in range(length)) / length


def settings(config):
    """Reads the configuration. What cannot work is said at once, and the runtime shows it as the reason."""
    fast, slow = int(config.get("fast", 5)), int(config.get("slow", 20))
    interval = float(config.get("interval_seconds", 0.5))
    if not 1 <= fast < slow:
        raise ValueError(f"config: fast must be at least 1 and below slow, got fast {fast} and slow {slow}")
    if interval <= 0:
        raise ValueError(f"config: interval_seconds must be above 0, got {interval}")
    return fast, slow, interval


def load_prices():
    with PRICES.open(newline="") as file:
        return [float(row["price"]) for row in csv.DictReader(file)]


def load_state():
    fresh = {"ticks": 0, "cash": CAPITAL, "units": 0.0, "trades": 0}
    return {**fresh, **json.loads(STATE.read_text())} if STATE.exists() else fresh


def save_state(state):
    """Writes aside and renames, so that a kill at any moment leaves the old state or the new one, whole."""
    STATE.parent.mkdir(parents=True, exist_ok=True)
    aside = STATE.with_suffix(".tmp")
    aside.write_text(json.dumps(state))
    aside.replace(STATE)


def pause(seconds):
    """Sleeps, but not past a stop."""
    until = time.monotonic() + seconds
    while stop_reason is None and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


def metric(kind, **fields):
    """One line of JSON on stdout: the platform picks such lines up as metrics."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    print(json.dumps({"_metric": kind, **fields, "timestamp": now}))
