"""What every layer of a Keras model puts out: outputs, statistics, gradients."""

from workbench.activations.attribution import (
    grad_cam,
    grad_cam_plus_plus,
    occlusion,
    saliency,
    smooth_grad,
)
from workbench.activations.captures import Capture, load_capture
from workbench.activations.capturing import capture
from workbench.activations.gradients import Gradients, gradients
from workbench.activations.histograms import Histogram
from workbench.activations.statistics import LayerStatistics, Statistics, statistics
from workbench.activations.watching import RecordActivations

__all__ = [
    "Capture",
    "Gradients",
    "Histogram",
    "LayerStatistics",
    "RecordActivations",
    "Statistics",
    "capture",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradients",
    "load_capture",
    "occlusion",
    "saliency",
    "smooth_grad",
    "statistics",
]
