"""What every worker of our own cluster does before anything else; Ray calls it by its name."""

import os
import resource

from ray.serve._private import replica

_EVERY_ADDRESS = "[::]:0"
_LOOPBACK = "127.0.0.1:0"
_BINDER = "add_port_to_grpc_server"


def keep_to_loopback() -> None:
    """Serve binds the gRPC server of each replica to every address, whatever the cluster's:
    here it gets the loopback. Nor may a core file be left, which would hold faces.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bind = vars(replica)[_BINDER]

    def bind_here(server: object, address: str) -> int:
        port: int = bind(server, _LOOPBACK if address == _EVERY_ADDRESS else address)
        return port

    setattr(replica, _BINDER, bind_here)
