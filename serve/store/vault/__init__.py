"""Keys and ciphers: the only code that holds secrets of the install in its hands."""
