"""The user's model as pure functions of its variables."""

import keras
import tensorflow as tf

from workbench.clipping import tensors


class Template:
    """A built model as pure functions of its variables.

    Args:
        model: Compiled `keras.Model`, built, whose kernels' regularizers have been
            taken off.
        kernels: List of indices of the kernels among the trainable variables.
    """

    def __init__(self, model, kernels):
        self.model = model
        self.kernels = kernels
        # Programs of several kinds share this trace.
        self.traced_forward = tf.function(self.forward, autograph=False)
        self.present = None  # which trainable variables have gradients
        self.sparse = []  # which of those are an embedding's
        self.frozen = frozen_variables(model)
        self.metrics = metric_variables(model)

    def _scope(self, weights, frozen, metrics):
        model = self.model
        pairs = [
            *zip(model.trainable_variables, weights, strict=True),
            *zip(self.frozen, frozen, strict=True),
            *zip(self.metrics, metrics, strict=True),
        ]
        return keras.StatelessScope(pairs, collect_losses=True)

    def _loss(self, batch, training):
        model = self.model
        x, y, *rest = batch
        weight = rest[0] if rest else None
        kwargs = {"training": training} if model._call_has_training_arg else {}
        y_pred = model(x, **kwargs)
        loss = model._compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=weight, training=training
        )
        if self.metrics:
            model.compute_metrics(x, y, y_pred, sample_weight=weight)
        return loss

    def forward(self, weights, frozen, metrics, batch):
        """Computes the loss, its gradients and the state after them.

        Args:
            weights: List of trainable tensors.
            frozen: List of the other tensors of the model.
            metrics: List of metric state tensors.
            batch: `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            Loss; list of the gradients that exist, dense; list of `(values, indices)`
            of those that are embeddings'; new `frozen`; new `metrics`.
        """
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with self._scope(weights, frozen, metrics) as scope:
                loss = self._loss(batch, training=True)
        gradients = tape.gradient(loss, weights)
        self.present = [gradient is not None for gradient in gradients]
        gradients = [gradient for gradient in gradients if gradient is not None]
        sparse = {i: g for i, g in enumerate(gradients) if _is_sparse(g)}
        self.sparse = list(sparse)
        return (
            loss,
            [tensors.densify(gradient) for gradient in gradients],
            [(gradient.values, gradient.indices) for gradient in sparse.values()],
            [scope.get_current_value(v) for v in self.frozen],
            [scope.get_current_value(v) for v in self.metrics],
        )

    def evaluate(self, weights, frozen, metrics, batch):
        """Computes the loss without training, and the metrics' new state."""
        with self._scope(weights, frozen, metrics) as scope:
            loss = self._loss(batch, training=False)
        return loss, [scope.get_current_value(v) for v in self.metrics]

    def metric_results(self, metrics):
        """Turns metric state into values.

        Args:
            metrics: List of arrays, one variant's metric state.

        Returns:
            Dict of name -> float, without the loss.
        """
        pairs = list(zip(self.metrics, metrics, strict=True))
        with keras.StatelessScope(pairs):
            results = self.model.get_metrics_result()
        return {k: float(v) for k, v in results.items() if k != "loss"}

    def in_model_order(self, weights, frozen):
        """Orders arrays as `model.get_weights()` does.

        Args:
            weights: List of the trainable arrays.
            frozen: List of the other ones.

        Returns:
            List of arrays, without the state of random generators.
        """
        variables = [*self.model.trainable_variables, *self.frozen]
        values = [*weights, *frozen]
        by_id = {id(v): a for v, a in zip(variables, values, strict=True)}
        return [by_id[id(v)] for v in self.model.weights]


def metric_variables(model):
    """Lists the state of a model's metrics but for its mean loss, the first one."""
    return [v for metric in model.metrics[1:] for v in metric.variables]


def frozen_variables(model):
    """Lists a model's variables that are neither trained nor a metric's."""
    metrics = {id(v) for metric in model.metrics for v in metric.variables}
    return [v for v in model.non_trainable_variables if id(v) not in metrics]


def _is_sparse(gradient):
    return isinstance(gradient, tf.IndexedSlices)
