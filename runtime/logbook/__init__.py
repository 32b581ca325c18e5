"""The logs of apps: what their processes, deploys and visitors leave, kept across releases within a budget."""
