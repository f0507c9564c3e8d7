"""What every other package stands on: processes, waiting, timeouts, files, errors."""
