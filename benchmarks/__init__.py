"""What recording costs: beside the bare run, beside hooks that do nothing, beside other tools; and how it grows.

    python -m benchmarks overhead     ratios to the unrecorded run
    python -m benchmarks scale        cost per event of each stage, from a thousand events to a million
    python -m benchmarks plot         draws the kept results again

    models.py, workload.py            what is run: the models, and an evaluation or a training step of one
    modes.py, peers.py                the ways to run it: ours, and other tools
    clock.py, figures.py, isolated.py how it is measured: time and memory; medians; a process for each measurement
    overhead.py, scale.py             the two benchmarks
    results.py, machine.py            what is kept of them, as plain data
    tables.py, plot.py                what is shown of them

How to measure well, and what was learnt by it, is in NOTES.md.
"""
