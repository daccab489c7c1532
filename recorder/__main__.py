"""``python -m recorder``: the same as the program ``recorder``."""

from recorder.cli import main

if __name__ == "__main__":
    main(prog_name="recorder")
