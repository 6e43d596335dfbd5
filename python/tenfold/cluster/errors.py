"""What goes wrong."""


class ClusterError(Exception):
    """One clear message. `code` is as tenfold's errors have it, for the exit code of the command."""

    def __init__(self, message, code="USAGE"):
        super().__init__(message, code)
        self.code = code

    def __str__(self):
        return self.args[0]
