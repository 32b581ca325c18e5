"""Bringing an instance back whose swarm is lost, or whose engine is a new one: look, plan, act, check."""
