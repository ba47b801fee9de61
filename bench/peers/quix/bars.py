"""bars.py BROKERS INPUT OUTPUT GROUP STATE_DIR: one-minute bars with Quix Streams, at least once; runs until it is stopped."""

import sys

from quixstreams import Application

INTERVAL_MS = 60_000
LATENESS_MS = 2_000


def first(tick: dict) -> dict:
    price, volume, ts = tick["price"], tick["volume"], tick["ts"]
    return {"o": price, "h": price, "l": price, "c": price, "v": volume, "n": price * volume, "k": 1, "ot": ts, "ct": ts}


def add(bar: dict, tick: dict) -> dict:
    price, volume, ts = tick["price"], tick["volume"], tick["ts"]
    if price > bar["h"]:
        bar["h"] = price
    if price < bar["l"]:
        bar["l"] = price
    if ts < bar["ot"]:
        bar["ot"], bar["o"] = ts, price
    if ts >= bar["ct"]:
        bar["ct"], bar["c"] = ts, price
    bar["v"] += volume
    bar["n"] += price * volume
    bar["k"] += 1
    return bar


def bar(window: dict, key: str, _time: int, _headers: object) -> dict:
    b = window["value"]
    return {
        "symbol": key,
        "interval": "1m",
        "start": window["start"],
        "end": window["end"],
        "open": b["o"],
        "high": b["h"],
        "low": b["l"],
        "close": b["c"],
        "volume": b["v"],
        "vwap": b["n"] / b["v"] if b["v"] else b["c"],
        "count": b["k"],
    }


def main() -> None:
    brokers, source, sink, group, state_dir = sys.argv[1:6]
    app = Application(
        broker_address=brokers,
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_interval=0.1,
        state_dir=state_dir,
        loglevel="ERROR",
    )
    # The record's timestamp is the tick's.
    ticks = app.dataframe(app.topic(source, key_deserializer="str", value_deserializer="json"))
    bars = ticks.tumbling_window(INTERVAL_MS, grace_ms=LATENESS_MS).reduce(reducer=add, initializer=first).final()
    bars.apply(bar, metadata=True).to_topic(app.topic(sink, key_serializer="str", value_serializer="json"))
    app.run()


main()
