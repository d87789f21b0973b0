"""The web page of `unclasp demo`: the server, its answer to a picture, its checks of connections, and the page."""
