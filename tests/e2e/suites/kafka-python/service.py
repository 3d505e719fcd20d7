"""What the suite starts and stops its servers with, and its source package leaves out.

Lantern runs before the suite does: there is nothing to start here.
"""


class ExternalService:
    """A server that is there."""

    def __init__(self, host, port):
        self.host = host
        self.port = port

    def stop(self):
        pass

    def dump_logs(self):
        pass


class SpawnedService:
    """A server of the suite's own, which tests of TLS and SASL want."""

    def __init__(self, *_args, **_environment):
        raise RuntimeError("no server is started for this suite")
