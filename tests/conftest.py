"""What every test can count on.

- Tests need nothing but the checkout and its virtual environment. What lies beside it
  (`../shared`) or has to be built first is asked for by a fixture, which skips with a reason.
- No run hides a skip: `tests.helpers.skips` lists them all, and a strict run refuses surprises.
- Time, ids and randomness are arguments of the code under test, so nothing is patched here.
"""

pytest_plugins = ["tests.helpers.skips", "tests.fixtures"]
