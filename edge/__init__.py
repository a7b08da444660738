"""The gateway agent: polls, guards, keeps on disk, sends."""
