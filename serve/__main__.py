"""`python -m serve`: the same as the `limen` command."""

from serve.cli import main

main()
