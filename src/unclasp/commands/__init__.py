"""The commands: `unclasp a` is the function `a.a` in this package, and `unclasp a b` is `a.b`, but for `mediapipe`.

Arguments are dataclasses whose docstrings are the help texts. Heavy imports are deferred until a command runs.
"""
