"""Help for tests of 1:N search: stand-ins of the index, and what a seed promises."""
