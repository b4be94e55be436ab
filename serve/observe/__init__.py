"""What operators see: metrics, and log lines that hold no personal data."""
