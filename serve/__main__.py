"""`python -m serve`, the same as `limen`."""

from serve.cli import main

if __name__ == "__main__":
    main()
