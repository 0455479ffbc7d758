"""What `regen` on the command line does; `regen.cli` only parses."""
