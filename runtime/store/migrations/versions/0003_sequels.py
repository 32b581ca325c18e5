"""What follows a deploy once it is live is kept with it, so that another server can do it."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE deploys ADD COLUMN sequel TEXT")
