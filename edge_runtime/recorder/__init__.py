"""What was heard around an alarm, kept: an event folder with sound, scores, pictures and the reason.

settings.py   what is kept, and how much of the disk it may take
recorder.py   told by the loop that listens; memory.py: the last minutes of sound; going.py: an event that goes on
writer.py     the thread that writes; draft.py, pictures.py: an event's files; folder.py: whole or not there
normals.py    normal sounds of this site, to compare by ear
disk.py       which event goes first; ages.py: what has no time of its own; shelf.py: those that are there
purge.py      what people remove
event.py      a folder as others read it, and what people said of it; dataset.py: as a DCASE data set
"""
