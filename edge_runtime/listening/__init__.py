"""One process that listens to a site: sources -> posts -> monitors -> panel -> journal, outputs and events.

opening.py      a site, opened: bundles, networks, posts, panel, annunciator
service.py      the loop: one thread that waits for nothing
post.py         one source and the machines heard through it; grid.py: which windows are due
monitor.py      one machine: its windows become levels, their absence an alarm of its own kind
panel.py        the alarms of all machines, and the journal behind them
annunciator.py  whom they are told to; events.py, saying.py, log.py, notify.py: programs, people, systemd
"""
