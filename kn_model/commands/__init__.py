"""One module per command of `kn model`; each has a `COMMAND`."""
