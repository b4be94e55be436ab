"""What comes in: whose address, which device, how large and slow a body, which image."""
