"""The command line: options, one thin function per command, exit codes."""
