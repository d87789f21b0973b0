"""The web page of `unclasp demo`, and the responses of its server."""
