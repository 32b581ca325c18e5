"""Apps can be renamed: what is named after them outside of the store keeps the handle that it was made by."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE apps ADD COLUMN handle TEXT")
    op.execute("ALTER TABLE apps ADD COLUMN moved_from TEXT")
    op.execute("CREATE UNIQUE INDEX apps_by_handle ON apps (coalesce(handle, name))")
    op.execute("ALTER TABLE releases ADD COLUMN made_as TEXT")
