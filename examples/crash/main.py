"""A bot that fails: it works for a while, then an order is refused and nobody catches the exception."""

import time


def main(bot_id, config):
    seconds = float(config.get("after_seconds", 3))
    print(f"{bot_id}: all is well for {seconds:g} s")
    time.sleep(seconds)
    raise ValueError(f"order refused: quantity must be above 0 (after {seconds:g} s)")
