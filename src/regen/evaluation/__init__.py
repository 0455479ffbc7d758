"""What is measured and drawn of a model: one room a task.

A room, `regen.evaluation.<task>`, has `evaluate(subject)`: it draws into the subject's folder and returns the figures. A family
names its task (`TASK`, or images); a data set that is read as tiles is a task of its own.
"""
