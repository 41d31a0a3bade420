"""How a device trains the library's own modules best. Installed for training steps only; nothing else ever sees it."""
