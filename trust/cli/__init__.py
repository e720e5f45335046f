"""The face: commands, exit codes and every word on the terminal."""
