"""What streams are measured with: clips, phones that play them, sockets that idle."""
