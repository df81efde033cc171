"""A server for one model: requests that arrive together are answered together."""
