"""Search for settings: spaces, samplers, pruners and studies (`metarl tune`)."""
