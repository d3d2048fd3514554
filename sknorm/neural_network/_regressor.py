"""The regressor."""

from __future__ import annotations

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from sknorm._validation import _fit_context, check_is_fitted, restore_on_failure
from sknorm.neural_network._base import BaseNormMLP
from sknorm.neural_network._targets import RealTargets

__all__ = ["BaseNetRegressor", "NormMLPRegressor"]


class BaseNetRegressor(RegressorMixin, BaseNormMLP):
    """What a network does with real targets, whatever it is made of."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Train the network.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Training rows, of pandas, polars or NumPy.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets in their own units.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        X_val : DataFrame or array-like of shape (n_val, n_features), default=None
            Validation rows, in place of ``validation_fraction``. In a Pipeline they
            are transformed along if it is made with ``transform_input=["X_val"]``.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data can't be used; the message says why.
        DivergenceError
            If the loss or a weight is no longer finite. An earlier fit is kept.
        """
        with restore_on_failure(self):
            return self._fit(X, y, sample_weight, X_val, y_val)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Go over the rows once, without starting anew.

        The units that targets are trained on in are those of the first call, which
        later ones can't move: their mean and standard deviation, or for a Poisson or
        Tweedie deviance their mean alone.

        What :class:`TabularNetRegressor` has to know of columns, which is their
        kinds, categories and bins, it learns at the first call alone: its rows should
        show all that will come.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Training rows, of pandas, polars or NumPy.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets in their own units.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, relative to the others of this call.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If the data can't be used; the message says why.
        """
        with restore_on_failure(self):
            return self._partial_fit(X, y, sample_weight)

    def predict(self, X):
        """Return the predicted targets.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions in the units of the training targets, float64.
        """
        check_is_fitted(self)
        return self._targets.decode(self._output(X))

    def _check_y(self, y):
        return check_array(
            y, dtype="float64", ensure_2d=False, input_name="y", estimator=self
        )

    def _make_targets(self, y, classes):
        return RealTargets(y.shape[1:])

    def _encode(self, X, y, sample_weight, name="y"):
        if sample_weight is not None and not sample_weight.all():
            # A loss needn't be defined for the targets of rows that don't count.
            counts = (sample_weight > 0).reshape(-1, *(1,) * (y.ndim - 1))
            y = np.where(counts, y, y[sample_weight.argmax()])
        return super()._encode(X, y, sample_weight, name)

    def _make_loss(self):
        return self._targets.loss()

    def _row_weights(self, codes, sample_weight):
        return sample_weight

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class NormMLPRegressor(BaseNetRegressor):
    """Multi-layer perceptron regressor whose init and norm layers are names.

    One or several real targets. They are standardized inside, so that the loss starts
    near 1 whatever their units, and predictions come back in their own units. The
    network is a :class:`sknorm.nn.mlp.MLP` trained on squared error in a skorch net.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(256,)
        Width of each hidden layer; empty for a linear model.
    activation : str, nn.Module, class or callable, default="relu"
        A name in :data:`sknorm.nn.activations.ACTIVATIONS`, a module class, a module
        or an elementwise tensor function.
    norm : str, class, callable or None, default="batch"
        A name in :data:`sknorm.nn.norms.NORMS`, or anything that makes a module from
        the number of features.
    norm_position : {"before", "after"}, default="before"
        Whether the norm layer stands before or after the activation.
    init : str, Initializer or callable, default="auto"
        A name in :data:`sknorm.nn.initializers.INITIALIZERS`, one of its classes with
        parameters, such as ``Normal(mean=0, std=0.01)``, or a function that fills a
        tensor in place. ``"auto"`` takes what keeps every pre-activation at standard
        deviation 1 for the activation chosen.
    bias_init : str, Initializer or callable, default="auto"
        How biases start; ``"auto"`` leaves it to ``init``, zeros for most.
    dropout : float, default=0.0
        Share of hidden activations set to zero in training, in [0, 1).
    optimizer : str or class, default="adamw"
        A torch optimizer: the name of its class in lower case, the class, or a
        ``functools.partial`` of it.
    optimizer_params : dict, default=None
        Further arguments of the optimizer, such as ``{"momentum": 0.9}``.
    lr : float, default=3e-3
        Learning rate.
    lr_schedule : str, callable or class, default="cosine"
        How the learning rate moves: ``"constant"``, ``"linear"``, ``"cosine"``,
        ``"flat_cosine"``, ``"coslog4"``, ``"one_cycle"``, ``"step"``,
        ``"exponential"``, ``"plateau"``, a function from progress in [0, 1) to a
        factor, or a torch scheduler class.
    weight_decay : float or "auto", default="auto"
        Weight decay of the weight matrices, in the sense of the optimizer. Biases and
        norm parameters have none. ``"auto"`` is ``0.006 / lr`` with AdamW, which takes
        0.6 % off a weight in a step whatever the learning rate, and 0 with other
        optimizers, for most of which it would be a part of the gradient.
    clip_grad_norm : float, default=None
        Largest norm of the gradient over all parameters. None doesn't clip.
    averaging : {"none", "ema", "polynomial", "swa"} or callable, default="none"
        Whether the network predicts with an average of its weights over the steps:
        ``"ema"`` looks back on some 200 of them, ``"polynomial"`` on a tenth of those
        so far, ``"swa"`` takes the last quarter in equal shares. Running statistics of
        batch norms are not averaged. Each call of ``partial_fit`` goes on from the
        average, and begins one of its own.
    max_epochs : int, default=30
        Passes over the data.
    batch_size : int or "auto", default="auto"
        Rows in a step. ``"auto"`` takes 32 with fewer than 256 rows, and else about
        one in 32 of them as a power of two, at least 64 and at most 256. A last batch
        smaller than a quarter of this joins the one before it.
    early_stopping : bool, default=False
        Whether to stop when the loss on validation rows no longer falls, and go back
        to the weights that were best there.
    validation_fraction : float, default=0.1
        Share of the rows that ``early_stopping`` sets aside. Not used if
        ``fit`` is given ``X_val``.
    n_iter_no_change : int, default=10
        Epochs without improvement after which ``early_stopping`` stops.
    tol : float, default=1e-4
        How much the validation loss has to fall to count as improvement.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last ``fit``.
    callbacks : list of skorch callbacks, default=None
        Told of every epoch and batch, as :class:`skorch.NeuralNet` does.
    verbose : int, default=0
        1 draws a progress bar, 2 prints a line for each epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, order of rows, dropout and the validation split. With an
        int a fit is repeatable and no global random state is read or moved; None draws
        the seed from NumPy's global state, as scikit-learn does.
    device : str or torch.device, default="auto"
        Where to train: ``"auto"`` takes cuda, then mps, then cpu.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network.
    amp : bool, default=False
        Whether training multiplies matrices in bfloat16, by ``torch.autocast``, on cuda
        or cpu. Weights, losses, validation and predictions stay in float32, which
        ``dtype`` has to be. There is no float16: its losses would have to be scaled.
    compile : bool, default=False
        Whether steps on cuda are recorded as a CUDA graph and played back, which is
        faster where layers are small. The first three steps of a call are taken as they
        come, and so are batches of another size than ``batch_size`` and all steps if a
        callback listens to batches. The optimizer, any of them, is not a part of the
        record. Elsewhere this does nothing: on a CPU compiled steps are not faster.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The skorch net, with ``module_``, ``optimizer_`` and ``save_params``.
    history_ : skorch.history.History
        What skorch records of each epoch.
    loss_curve_ : list of float
        Training loss of each epoch, in units of the target variance.
    validation_loss_curve_ : list of float or None
        Loss on the validation rows after each epoch; None without any.
    n_iter_ : int
        Number of epochs run by the last call of ``fit`` or ``partial_fit``.
    n_outputs_ : int
        Number of units in the last layer.
    device_ : str
        Where the network was trained.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has string names for all.

    See Also
    --------
    NormMLPClassifier : The same network for labels.
    sknorm.preprocessing.Standardizer : What belongs in front of it.

    Notes
    -----
    Mini-batches and batch statistics make a weight of 2 differ from giving the row
    twice. They are equivalent, to rounding, in the strict configuration
    ``NormMLPRegressor(norm="layer", batch_size=n, dtype="float64")`` with
    ``n`` at least the number of rows and an ``init`` that doesn't look at the data.
    Rows of weight zero are left out before anything else is done.

    A table of one row has no batch statistics: norm layers that need them use their
    running statistics instead.

    A prediction does not depend on which rows are predicted beside it: exactly with
    hidden layers of 16, 32, 48, ... units, else up to rounding.

    A :class:`numpy.memmap` of more than 256 MiB in ``dtype`` is not read into memory as
    a whole. The order of its rows is then random by blocks of 1 MiB: 256 MiB of blocks
    from anywhere in the file are read, their rows are shuffled, and the next are read.
    Rows in memory that a GPU has no room for stay there, and come to it in the order
    that they would have on the device.

    Predictions are float64 even from a float32 network, so that targets with a large
    offset keep their digits.

    References
    ----------
    S. Ioffe and C. Szegedy, "Batch Normalization: Accelerating Deep Network Training
    by Reducing Internal Covariate Shift", ICML 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sknorm.neural_network import NormMLPRegressor
    >>> from sknorm.preprocessing import Standardizer
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(
    ...     Standardizer(), NormMLPRegressor(random_state=0)
    ... )
    >>> bool(model.fit(X, y).score(X, y) > 0.5)
    True
    """
