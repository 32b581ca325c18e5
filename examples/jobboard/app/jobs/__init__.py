"""What the cron runs."""
