"""Every folder below is a package, so that `tests/serve` can never be imported as `serve`."""
