"""What hardware there is, what TensorFlow makes of it, and how much memory it takes.

Importing this does not load TensorFlow; only what has to ask it does so.
"""

from workbench.devices.clusters import ClusterReport, WorkerDevices, detect_cluster
from workbench.devices.concerns import Concern, Preflight
from workbench.devices.detection import detect_devices
from workbench.devices.doctor import (
    Diagnosis,
    Finding,
    Machine,
    diagnose,
    load_machine,
    read_machine,
)
from workbench.devices.joining import Cluster, read_cluster, wait_for_workers
from workbench.devices.launching import WorkerError, launch_workers
from workbench.devices.load import GpuLoad, Load, measure_load
from workbench.devices.memory import grow_memory, limit_memory
from workbench.devices.preflighting import preflight
from workbench.devices.records import (
    Cpu,
    DeviceReport,
    Gpu,
    MemorySetting,
    Source,
)
from workbench.devices.strategies import multi_worker_strategy, strategy

__all__ = [
    "Cluster",
    "ClusterReport",
    "Concern",
    "Cpu",
    "DeviceReport",
    "Diagnosis",
    "Finding",
    "Gpu",
    "GpuLoad",
    "Load",
    "Machine",
    "MemorySetting",
    "Preflight",
    "Source",
    "WorkerDevices",
    "WorkerError",
    "detect_cluster",
    "detect_devices",
    "diagnose",
    "grow_memory",
    "launch_workers",
    "limit_memory",
    "load_machine",
    "measure_load",
    "multi_worker_strategy",
    "preflight",
    "read_cluster",
    "read_machine",
    "strategy",
    "wait_for_workers",
]
