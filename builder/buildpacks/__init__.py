"""Buildpacks: one file per language, and `plan_build`, which says how the image of a commit is made."""

from builder.buildpacks.plan import plan_build

__all__ = ["plan_build"]
