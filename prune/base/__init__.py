"""What everything else may use: errors, files, logs, sections of the configuration, registries, seeds, the machine."""
