"""P5: tenants and modes never see each other. P4: no state outside the published graph."""
