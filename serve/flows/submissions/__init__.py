"""The steps of a submission: begun, looked at, finished or given back."""
