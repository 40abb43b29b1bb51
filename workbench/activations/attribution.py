"""Which pixels matter for a score: saliency, SmoothGrad, Grad-CAM, occlusion."""

import itertools
import numbers

import numpy as np
import tensorflow as tf

from workbench.activations.scoring import Scorer


def saliency(model, x, target=None, *, from_logits=True):
    """Maps how strongly each pixel moves a score.

    Args:
        model: `keras.Model` that reads one batch of images; it stays untouched.
        x: Images, `(B, H, W)` or `(B, H, W, C)`.
        target: None for each image's best class; an int, or B ints, indices of the
            model's last axis; or a function of what the model returns to B scores.
        from_logits: Whether the score is read before a softmax or sigmoid that ends
            the model, where it has one; the probability's own slope vanishes near 1.

    Returns:
        float32 `(B, H, W)`, the largest magnitude of the gradient over the channels.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If `x` is no batch of images or `target` is out of range.

    Source: Simonyan, Vedaldi, Zisserman 2014 (arXiv:1312.6034), section 3.
    """
    scorer = Scorer(model, x, target, from_logits)
    return _largest(scorer.slopes(scorer.images))


def smooth_grad(
    model, x, target=None, *, num_samples=25, noise=0.15, seed=0, from_logits=True
):
    """Maps how strongly each pixel moves a score, averaged over noisy copies.

    Args:
        model: As for `saliency`.
        x: As for `saliency`.
        target: As for `saliency`; the best class is that of the image without noise.
        num_samples: Positive int, noisy copies of each image.
        noise: float >= 0, standard deviation of the noise as a share of each image's
            range.
        seed: int.
        from_logits: As for `saliency`.

    Returns:
        float32 `(B, H, W)`, the largest magnitude of the mean gradient over the
        channels.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If `x` is no batch of images or an argument is out of range.

    Source: Smilkov, Thorat, Kim, Viégas, Wattenberg 2017 (arXiv:1706.03825).
    """
    if num_samples < 1:
        raise ValueError(
            f"`num_samples` must be >= 1 (noisy copies). Received: {num_samples=}"
        )
    if not noise >= 0:
        raise ValueError(f"`noise` must be >= 0 (share of range). Received: {noise=}")
    scorer = Scorer(model, x, target, from_logits)
    images = scorer.images
    axes = tuple(range(1, images.ndim))
    spread = noise * np.ptp(images, axis=axes, keepdims=True)
    rng = np.random.default_rng(seed)
    total = np.zeros(images.shape, "float64")
    for _ in range(num_samples):
        drawn = rng.standard_normal(images.shape, "float32")
        total += scorer.slopes(images + (spread * drawn).astype("float32"))
    return _largest((total / num_samples).astype("float32"))


def grad_cam(model, x, target=None, *, layer=None, from_logits=True):
    """Maps where a convolutional layer found what speaks for a score.

    Args:
        model: As for `saliency`.
        x: As for `saliency`.
        target: As for `saliency`.
        layer: The layer, as `capture` takes one; None for the last one that puts out
            maps of more than one pixel.
        from_logits: As for `saliency`.

    Returns:
        float32 `(B, H, W)`, >= 0, the layer's map enlarged to the image's size.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If `x` is no batch of images, or the layer puts out no maps.

    Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017 (arXiv:1610.02391),
    equations 1 and 2.
    """
    scorer = Scorer(model, x, target, from_logits)
    return _class_activation(scorer, layer, _mean_slope)


def grad_cam_plus_plus(model, x, target=None, *, layer=None, from_logits=True):
    """Maps where a layer found what speaks for a score, several places of it alike.

    Args:
        model: As for `saliency`.
        x: As for `saliency`.
        target: As for `saliency`.
        layer: As for `grad_cam`.
        from_logits: As for `saliency`.

    Returns:
        float32 `(B, H, W)`, >= 0; scaled by exp(-score) against the paper, which makes
        no difference inside one map.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If `x` is no batch of images, or the layer puts out no maps.

    Source: Chattopadhyay, Sarkar, Howlader, Balasubramanian 2018 (arXiv:1710.11063),
    equations 5, 19 and 20.
    """
    scorer = Scorer(model, x, target, from_logits)
    return _class_activation(scorer, layer, _weighted_slope)


def occlusion(
    model,
    x,
    target=None,
    *,
    patch=None,
    stride=None,
    fill=0.0,
    batch_size=64,
    from_logits=True,
):
    """Maps how much a score falls when a patch of the image is covered.

    Args:
        model: As for `saliency`.
        x: As for `saliency`.
        target: As for `saliency`; the best class is that of the image as it is.
        patch: int, side of the square patch (pixels); None for an eighth of the image.
        stride: int, pixels between patches; None for half a patch.
        fill: float, what a patch is covered with.
        batch_size: int, covered images per pass.
        from_logits: As for `saliency`.

    Returns:
        float32 `(B, H, W)`, for each pixel the mean fall of the score over the patches
        that cover it; negative where covering helps.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If `x` is no batch of images or an argument is out of range.

    Source: Zeiler, Fergus 2014 (arXiv:1311.2901), section 4.2.
    """
    scorer = Scorer(model, x, target, from_logits)
    images = scorer.images
    height, width = images.shape[1:3]
    patch = max(1, min(height, width) // 8) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    sizes = {"patch": patch, "stride": stride, "batch_size": batch_size}
    for name, value in sizes.items():
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"`{name}` must be an int >= 1. Received: {name}={value}")
    rows, columns = _starts(height, patch, stride), _starts(width, patch, stride)
    jobs = list(itertools.product(range(len(images)), rows, columns))
    before = scorer.scores(images)
    total, covered = np.zeros((2, *images.shape[:3]))
    for start in range(0, len(jobs), batch_size):
        part = jobs[start : start + batch_size]
        copies = images[[b for b, _, _ in part]]
        for copy, (_, i, j) in zip(copies, part, strict=True):
            copy[i : i + patch, j : j + patch] = fill
        scores = scorer.scores(copies, of=[b for b, _, _ in part])
        for score, (b, i, j) in zip(scores, part, strict=True):
            place = b, slice(i, i + patch), slice(j, j + patch)
            total[place] += before[b] - score
            covered[place] += 1
    return (total / covered).astype("float32")


def _starts(size, patch, stride):
    last = max(size - patch, 0)
    return sorted({*range(0, last, stride), last})


def _class_activation(scorer, layer, weigh):
    maps, slopes = scorer.maps(layer)
    if slopes is None:
        raise ValueError(
            "`layer` must put out maps that the score depends on. Received: "
            f"layer={layer!r}"
        )
    weights = weigh(maps.astype("float32"), slopes.astype("float32"))
    heat = np.maximum((weights * maps).sum(axis=-1), 0)
    size = scorer.images.shape[1:3]
    return tf.image.resize(heat[..., None], size)[..., 0].numpy()


def _mean_slope(_maps, slopes):
    return slopes.mean(axis=(1, 2), keepdims=True)


def _weighted_slope(maps, slopes):
    square, sums = np.square(slopes), maps.sum(axis=(1, 2), keepdims=True)
    below = 2 * square + sums * square * slopes
    shares = np.divide(square, below, out=np.zeros_like(square), where=below != 0)
    return (shares * np.maximum(slopes, 0)).sum(axis=(1, 2), keepdims=True)


def _largest(slopes):
    magnitudes = np.abs(slopes)
    return magnitudes if magnitudes.ndim == 3 else magnitudes.max(axis=-1)
