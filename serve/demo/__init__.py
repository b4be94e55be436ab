"""The demonstration: a tenant's server and a customer's phone, played against a running Limen."""
