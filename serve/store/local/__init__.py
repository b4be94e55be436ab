"""The embedded store on this machine: its files, its locks, and how its server is started."""
