"""Configuration that ships with Limen: model pack recipes and example settings."""
