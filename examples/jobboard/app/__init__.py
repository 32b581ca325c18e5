"""A job board: web, worker and cron from one image."""
