"""The promises that every family and every agent keeps, as tests."""
