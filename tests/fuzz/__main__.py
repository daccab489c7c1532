"""Try many inputs, and say in one line for each target how many, and how many broke a promise.

    python -m tests.fuzz --runs 500000 [--target stream] [--seed 1] [--keep FOLDER]

An input that breaks one is written into the folder, once for each place in the code, and the exit status is 1. One that
takes longer than a minute, or more than 4 GB, ends the target, and is written too.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

SHARES = {"stream": 0.3, "document": 0.3, "label": 0.4}
"""How much of all runs goes to each target: labels are tried fastest."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=500_000, help="inputs in all")
    parser.add_argument("--target", choices=SHARES, help="this one alone, with all runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, default=Path("out/fuzz"), help="where to write inputs that broke a promise"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.target, options.runs, options.seed, options.keep)
    shares = {options.target: 1.0} if options.target else SHARES
    failed = 0
    for target, share in shares.items():  # each in a process of its own: the fuzzer ends the process that it runs in
        arguments = [
            "--target",
            target,
            "--runs",
            int(share * options.runs),
            "--seed",
            options.seed,
            "--keep",
            options.keep,
        ]
        command = [sys.executable, "-m", "tests.fuzz", "--worker", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout.strip() or f"{target}: ended early\n{done.stderr[-3000:]}", flush=True)
        failed |= done.returncode != 0
    return failed


def work(target: str, runs: int, seed: int, keep: Path) -> int:
    """Run one target, led by coverage if atheris is there."""
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is not None:
        with atheris.instrument_imports(include=["recorder", "recorder_exporters"]):
            from . import changes, targets
    else:
        from . import changes, targets
    how = "at random" if atheris is None else "led by coverage"
    check = _Check(target, targets.TARGETS[target], runs, keep, how)
    good = targets.seeds(target)
    if atheris is None:
        random = Random(seed)
        while True:
            check(changes.changed(random.choice(good), random))

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        random = Random(seed)
        changed = atheris.Mutate(data, size) if random.random() < 0.3 else changes.changed(data, random)
        return changed[:size]

    corpus = tempfile.mkdtemp()
    for i, data in enumerate(good):
        Path(corpus, str(i)).write_bytes(data)
    keep.mkdir(parents=True, exist_ok=True)
    longest = 4_000 if target == "label" else 40_000
    limits = [f"-max_len={longest}", "-timeout=60", "-rss_limit_mb=4096", f"-artifact_prefix={keep}/", "-len_control=0"]
    atheris.Setup([sys.argv[0], f"-seed={seed}", *limits, corpus], check, custom_mutator=mutate)
    atheris.Fuzz()
    return 1  # only reached if the fuzzer gave up by itself


class _Check:
    """Runs a target, keeps what broke it, and ends the process when all runs are done."""

    def __init__(self, name: str, target: Callable[[bytes], None], runs: int, keep: Path, how: str) -> None:
        self.name, self.target, self.runs, self.keep, self.how = name, target, runs, keep, how
        self.tried = self.broken = 0
        self.places: set[tuple[str, str]] = set()

    def __call__(self, data: bytes) -> None:
        try:
            self.target(data)
        except Exception as error:
            self.broken += 1
            frames = traceback.extract_tb(error.__traceback__)
            place = (type(error).__name__, str(frames[-1]))
            if place not in self.places:
                self.places.add(place)
                self.keep.mkdir(parents=True, exist_ok=True)
                path = self.keep / f"{self.name}-{hashlib.sha1(data).hexdigest()[:10]}"
                path.write_bytes(data)
                print(f"{path}: {error!r:.300} at {frames[-1].filename}:{frames[-1].lineno}", flush=True)
        self.tried += 1
        if self.tried >= self.runs:
            print(
                f"{self.name}: {self.tried:,} inputs tried {self.how}, errors other than ours: {self.broken}",
                flush=True,
            )
            os._exit(self.broken > 0)


if __name__ == "__main__":
    sys.exit(main())
