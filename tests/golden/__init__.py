"""Frozen frames and vectors that must decode for ever."""
