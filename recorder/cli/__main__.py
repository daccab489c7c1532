"""``python -m recorder.cli``: the same as ``recorder``."""

from recorder.cli.group import main

main(prog_name="recorder")
