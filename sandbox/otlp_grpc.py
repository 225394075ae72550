"""An OTLP/gRPC collector that takes everything and keeps nothing: `python -m sandbox.otlp_grpc` prints its URL.

The sandbox's own collector, which keeps what it gets, speaks HTTP.
"""

from __future__ import annotations

import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]

_EXPORTS = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}


class _Taking(grpc.GenericRpcHandler):  # type: ignore[misc]
    def service(self, call: Any) -> Any:
        # an empty reply is a full success in all three services
        return grpc.unary_unary_rpc_method_handler(lambda _, __: b"") if call.method in _EXPORTS else None


def main() -> None:
    """Serve on a free port of 127.0.0.1 until SIGTERM."""
    server = grpc.server(ThreadPoolExecutor(4), handlers=(_Taking(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(0))
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
