"""What the face index is measured with: galleries, rivals, a real log; and what it is to show."""
