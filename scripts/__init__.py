"""What a checkout needs to set itself up, and to say what it stands on."""
