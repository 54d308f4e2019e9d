"""What every part stands on: errors, registries, settings, random streams and files. It imports nothing of ours."""
