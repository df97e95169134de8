"""Hold the calls of seeds: `python -m tests.explore 17`, `python -m tests.explore 0:300`; or all of `soak`."""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from concurrent.futures import ProcessPoolExecutor

from tests.explore import soak
from tests.explore.call import explore
from tests.explore.telling import told

BATCH = 50


def main() -> int:
    """Hold the calls, and print the stories of those that broke a promise; one alone is printed in any case."""
    parser = argparse.ArgumentParser(prog="python -m tests.explore", description=__doc__)
    parser.add_argument("seeds", nargs="+", help="a seed, FIRST:AFTER, or soak: many calls one after another")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes; 0 for one a processor")
    arguments = parser.parse_args()
    if arguments.seeds == ["soak"]:
        return soak.main()
    calls, broken, batches = 0, 0, list[range]()
    for given in arguments.seeds:
        first, colon, after = given.partition(":")
        if not colon:
            print(told(explore(int(first)), whole=True))
            continue
        seeds = range(int(first), int(after))
        batches += [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]
    with ProcessPoolExecutor(arguments.jobs or None, initializer=quietly) as processes:
        for batch, stories in zip(batches, processes.map(stories_of, batches), strict=True):
            calls, broken = calls + len(batch), broken + len(stories)
            print("".join(f"{story}\n\n" for story in stories), end="", flush=True)
    if calls:
        times = os.times()
        cpu_s = times.children_user + times.children_system
        print(f"{calls} calls, {broken} broke a promise; {cpu_s:.0f} s of CPU time")
    return 1 if broken else 0


def quietly() -> None:
    """Let no log line disturb the stories, and make errors of warnings, as in tests."""
    logging.getLogger("voicepipe").addHandler(logging.NullHandler())
    logging.lastResort = None
    warnings.simplefilter("error")


def stories_of(seeds: range) -> list[str]:
    """Return the stories of those seeds that broke a promise."""
    return [told(story) for story in map(explore, seeds) if story.broken]


if __name__ == "__main__":
    raise SystemExit(main())
