"""Ray, for real: one small cluster for all tests that need one."""
