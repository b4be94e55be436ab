"""The service. Today its command line; the HTTP front door grows here."""

__version__ = "0.1.0"
