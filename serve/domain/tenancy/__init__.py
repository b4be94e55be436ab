"""Who a tenant is, what its keys may do, and which events call for a face."""
