"""What metrics are made with, and the list of all that there are.

Where `PROMETHEUS_MULTIPROC_DIR` was set before this module is imported, every process writes its
values to files in that folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from serve.observe.reserve import reserve

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)

if os.environ.get(FOLDER_VARIABLE):
    reserve(Path(os.environ[FOLDER_VARIABLE]), os.getpid())
REGISTRY = CollectorRegistry()
# A second series for each first one, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Metric:
    """What an operator reads of one metric; `buckets` are the upper bounds of a histogram."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


CATALOG: list[Metric] = []
Over = Literal["livesum", "livemax", "livemostrecent"]


def counter(name: str, meaning: str, *labels: str) -> Counter:
    """A number that only grows, in the catalog."""
    CATALOG.append(Metric(name, "counter", meaning, labels))
    return Counter(name, meaning, labels, registry=REGISTRY)


def gauge(name: str, meaning: str, over_processes: Over, *labels: str) -> Gauge:
    """A number as it is now, and how the numbers of several processes become one."""
    CATALOG.append(Metric(name, "gauge", meaning, labels))
    return Gauge(name, meaning, labels, registry=REGISTRY, multiprocess_mode=over_processes)


def histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    """Counts of values up to each bound, in the catalog."""
    CATALOG.append(Metric(name, "histogram", meaning, labels, buckets))
    return Histogram(name, meaning, labels, registry=REGISTRY, buckets=buckets)
