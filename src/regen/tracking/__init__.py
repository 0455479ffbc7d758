"""The MLflow mirror: local files are the truth, MLflow is told about them by child processes and can never hurt a stage.

`launch` is all that a stage imports (no mlflow): it notes a training on disk and starts `python -m regen.tracking`,
which tails a long training's files and sends what is new. What evaluations and short trainings leave goes with one courier for
all of them (`courier`). `regen sync` sends what never got through.

Exactly once: before sending, the server is asked how far it is (points go in the order of their steps), and every point's time
stamp is fixed on disk before its first sending, so that a point whose answer was lost is the same point when it is sent again.
"""
