"""What every test can count on.

- Tests need nothing but the checkout and its virtual environment. What lies beside it
  (`../shared`) or has to be built first is asked for by a fixture, which skips with a reason.
- No run hides a skip: `tests.helpers.skips` lists them all, and a strict run refuses surprises.
- Time, ids and randomness are arguments of the code under test, so nothing is patched here.
"""

import os

from hypothesis import settings

# A busy machine is no failure, and CI tries the same examples every time: what a random run
# finds elsewhere becomes an explicit example.
settings.register_profile("limen", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("limen")

pytest_plugins = [
    "tests.helpers.skips",
    "tests.fixtures",
    "tests.fixtures_redis",
    "tests.fixtures_service",
]
