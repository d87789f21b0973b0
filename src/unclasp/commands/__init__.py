"""What each command takes and does: `unclasp a` is `a.a` here, and `unclasp a b` is `a.b`.

The arguments are dataclasses, whose docstrings are the help text; heavy imports wait for the run.
"""
