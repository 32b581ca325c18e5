"""Alerts: what went wrong is written down where it is seen to go wrong, and the app's own address is told.

From the bottom up: `model` is what an alert is; `raising` writes one, in the transaction of what it is about;
`payload` is what is sent; `post` sends it; `sender` sends what is due, again and again, until it was taken or given
up; `overdue` and `watch` see what nobody else does: cron jobs that did not happen, and a scheduler that gives no sign
of life. Both loops are the server's: the scheduler may be what is broken.
"""
