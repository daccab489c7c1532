"""Files and names that mean harm, made up by the hundred thousand.

    python -m tests.fuzz --runs 500000

`targets` says what has to hold for any input, `changes` turns good input into bad, `__main__` runs them: led by
coverage where atheris is installed (``pip install '.[fuzz]'``), at random elsewhere. What was ever found is kept in
``found``, and the test suite runs it again.
"""
