"""The regressor for tables as they come."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.metrics import d2_pinball_score

from sknorm._validation import Interval, check_is_fitted
from sknorm.neural_network._losses import REGRESSION_LOSSES, Loss, Pinball, Tweedie
from sknorm.neural_network._net import forward_rows
from sknorm.neural_network._regressor import BaseNetRegressor
from sknorm.neural_network._tabular import BaseTabularNet, spread
from sknorm.neural_network._targets import RealTargets

__all__ = ["TabularNetRegressor"]


class TabularNetRegressor(BaseTabularNet, BaseNetRegressor):
    """Regressor for tables of numbers, categories, booleans and dates as they come.

    Many networks in one, on embedded numbers and categories. One target or several.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(256, 256)
        Width of each hidden block.
    architecture : {"mlp", "resnet"}, default="mlp"
        Blocks one after the other, or blocks that add to their input.
    activation : str, nn.Module, class or callable, default="relu"
        A name in :data:`sknorm.nn.activations.ACTIVATIONS`, a module class, a module
        or an elementwise tensor function.
    parametric_activation : bool, default=False
        Whether each unit learns how much of the activation it takes.
    norm : str, class, callable or None, default="none"
        A name in :data:`sknorm.nn.norms.NORMS`, or anything that makes a module from
        the number of features.
    norm_position : {"before", "after"}, default="before"
        Whether the norm layer stands before or after the activation.
    init : str, Initializer or callable, default="auto"
        A name in :data:`sknorm.nn.initializers.INITIALIZERS`, one of its classes with
        parameters, or a function that fills a tensor in place.
    bias_init : str, Initializer or callable, default="auto"
        How biases start; ``"auto"`` leaves it to ``init``.
    dropout : float, default=0.1
        Share of hidden activations set to zero in training, in [0, 1).
    embedding : str, Embedding, class, callable or None, default="ple"
        How numbers are embedded: a name in :data:`sknorm.nn.embeddings.EMBEDDINGS`, an
        embedding with parameters, such as ``PiecewiseLinear(n_bins=24)``, or what makes
        a module from the number of columns.
    n_members : int, default=16
        Number of networks in one, whose predictions are averaged.
    members : {"batch_ensemble", "mini", "independent"}, default="batch_ensemble"
        What members share: all weights but for scales of inputs and outputs of each
        layer and the last one; all but for one scale of each input and the last layer;
        or nothing.
    numeric : str, transformer or dict, default="quantile"
        What numbers are standardized with, see
        :class:`sknorm.preprocessing.TableStandardizer`.
    categorical_features : "auto" or array-like, default="auto"
        Names, positions or a mask of columns that are categories, whatever they hold.
        Columns of strings and of categorical dtypes are, named or not.
    optimizer : str or class, default="adamw"
        A torch optimizer: the name of its class in lower case, the class, or a
        ``functools.partial`` of it.
    optimizer_params : dict, default=None
        Further arguments of the optimizer.
    lr : float, default=5e-3
        Learning rate.
    lr_schedule : str, callable or class, default="cosine"
        How the learning rate moves, as for :class:`NormMLPClassifier`.
    weight_decay : float or "auto", default=3e-4
        Weight decay of the weight matrices, in the sense of the optimizer. ``"auto"``
        is ``0.006 / lr`` with AdamW and 0 with others.
    clip_grad_norm : float, default=1.0
        Largest norm of the gradient over all parameters. None doesn't clip.
    averaging : {"none", "ema", "polynomial", "swa"} or callable, default="polynomial"
        Whether the network predicts with an average of its weights over the steps, as
        for :class:`NormMLPClassifier`. The default looks back on a tenth of them:
        training that ends early, at a high learning rate, ends as well as one whose
        rate has fallen. Running statistics of batch norms are not averaged.
    max_epochs : int or "auto", default="auto"
        Passes over the data. ``"auto"`` takes what makes 4000 steps, with fewer than
        13 000 rows less by the root of their number; at least 10 and at most 100. From
        50 to 50 000 rows it first trains on four fifths, and then on all as far as the
        loss on the last fifth was least; below 2000 rows, as far as it was in the mean
        of three times, with other rows held out. Rows to validate on, if there are any,
        tell it in place of these: at the end the weights go back to those of the epoch
        that was best there. With ``warm_start`` later fits go as far as the first.
    batch_size : int or "auto", default="auto"
        Rows in a step. ``"auto"`` takes 32 with fewer than 256 rows, and else about
        one in 32 of them as a power of two, at least 64 and at most 256.
    early_stopping : bool, default=False
        Whether to stop when the loss on validation rows no longer falls, and go back
        to the weights that were best there.
    validation_fraction : float, default=0.1
        Share of the rows that ``early_stopping`` sets aside. Not used if ``fit`` is
        given ``X_val``.
    n_iter_no_change : int, default=16
        Epochs without improvement after which ``early_stopping`` stops.
    tol : float, default=0.0
        How much the validation loss has to fall to count as improvement.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last ``fit``.
    callbacks : list of skorch callbacks, default=None
        Told of every epoch and batch.
    verbose : int, default=0
        1 draws a progress bar, 2 prints a line for each epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, order of rows, dropout and the validation split.
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
    loss : str, default="squared_error"
        What is made small: ``"squared_error"``, ``"absolute_error"``, ``"huber"``,
        ``"quantile"``, or the deviance ``"poisson"`` or ``"tweedie"`` of targets that
        are 0 or positive. Huber's is a line from one standard deviation of ``y`` on.
        Weights may be exposures, if targets are rates.
    quantiles : float or array-like of float, default=0.5
        With ``loss="quantile"`` which of them, in (0, 1) and increasing. Of several the
        predictions are along a last axis, and never cross.
    power : float, default=1.5
        With ``loss="tweedie"`` the power of the variance: 1 for counts, 2 for amounts
        over 0, between them for sums of amounts.

    Attributes
    ----------
    table_ : TableStandardizer
        What makes numbers of the columns, fitted on the rows that were trained on.
    net_ : skorch.NeuralNet
        The skorch net, with ``module_``, ``optimizer_`` and ``save_params``.
    history_ : skorch.history.History
        What skorch records of each epoch.
    loss_curve_ : list of float
        Training loss of each epoch.
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
    TabularNetClassifier : The same network for labels.
    NormMLPRegressor : For tables of numbers, without members and embeddings.

    Notes
    -----
    Columns may be numbers, categories, booleans and dates, with values missing in any
    of them; a :class:`sknorm.preprocessing.TableStandardizer` makes numbers of them,
    which learns from the rows that are trained on and from no others. Categories are
    one-hot encoded, or if there are many get a learned vector each.

    Members see the same rows and are trained by the mean of their losses.

    References
    ----------
    Y. Gorishniy, A. Kotelnikov and A. Babenko, "TabM: Advancing Tabular Deep Learning
    with Parameter-Efficient Ensembling", ICLR 2025.

    Y. Gorishniy, I. Rubachev and A. Babenko, "On Embeddings for Numerical Features in
    Tabular Deep Learning", NeurIPS 2022.

    Examples
    --------
    >>> import pandas as pd
    >>> from sknorm.neural_network import TabularNetRegressor
    >>> X = pd.DataFrame(
    ...     {"size": [1.0, 2.0, 3.0, 4.0] * 10, "color": ["red", "blue"] * 20}
    ... )
    >>> y = 10.0 * X["size"]
    >>> model = TabularNetRegressor(32, n_members=4, max_epochs=60, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabularNet._parameter_constraints,
        "loss": [str],
        "quantiles": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "power": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        architecture="mlp",
        activation="relu",
        parametric_activation=False,
        norm="none",
        norm_position="before",
        init="auto",
        bias_init="auto",
        dropout=0.1,
        embedding="ple",
        n_members=16,
        members="batch_ensemble",
        numeric="quantile",
        categorical_features="auto",
        optimizer="adamw",
        optimizer_params=None,
        lr=5e-3,
        lr_schedule="cosine",
        weight_decay=3e-4,
        clip_grad_norm=1.0,
        averaging="polynomial",
        max_epochs="auto",
        batch_size="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=16,
        tol=0.0,
        warm_start=False,
        callbacks=None,
        verbose=0,
        random_state=None,
        device="auto",
        dtype="float32",
        amp=False,
        compile=False,
        loss="squared_error",
        quantiles=0.5,
        power=1.5,
    ):
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            norm=norm,
            norm_position=norm_position,
            init=init,
            bias_init=bias_init,
            dropout=dropout,
            optimizer=optimizer,
            optimizer_params=optimizer_params,
            lr=lr,
            lr_schedule=lr_schedule,
            weight_decay=weight_decay,
            clip_grad_norm=clip_grad_norm,
            averaging=averaging,
            max_epochs=max_epochs,
            batch_size=batch_size,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            callbacks=callbacks,
            verbose=verbose,
            random_state=random_state,
            device=device,
            dtype=dtype,
            amp=amp,
            compile=compile,
        )
        self.architecture = architecture
        self.parametric_activation = parametric_activation
        self.embedding = embedding
        self.n_members = n_members
        self.members = members
        self.numeric = numeric
        self.categorical_features = categorical_features
        self.loss = loss
        self.quantiles = quantiles
        self.power = power

    def predict(self, X, *, return_std=False):
        """Return the predicted targets.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to return how far the members are apart too.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions in the units of the training targets, float64, the mean over
            members. Of several quantiles they are along a last axis more.
        std : ndarray of the same shape
            Standard deviation of the members' predictions. Only if ``return_std``.

        Raises
        ------
        ValueError
            If ``return_std`` is asked of a network of one member.
        """
        check_is_fitted(self)
        if not return_std:
            return super().predict(X)
        self._require_members("predict")
        combine = self.net_.criterion_.combine
        mean, std = [], []
        for members in forward_rows(self.net_.module_, self._inputs(X)):
            mean.append(self._targets.decode(combine(members).cpu().numpy()))
            std.append(
                self._targets.rescale(spread(self.net_.criterion_.link(members)))
            )
        return np.concatenate(mean), np.concatenate(std)

    def score(self, X, y, sample_weight=None):
        """Return R2, or for quantiles what they save of the pinball loss.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            1 at best: :func:`sklearn.metrics.r2_score`, or the mean over quantiles of
            :func:`sklearn.metrics.d2_pinball_score`.
        """
        check_is_fitted(self)
        # That of the fit: the parameter may have been set since.
        loss = self._targets.loss()
        if not isinstance(loss, Pinball):
            return super().score(X, y, sample_weight)
        levels = loss.quantiles
        predicted = self.predict(X).reshape(len(y), -1, len(levels))
        return float(
            np.mean(
                [
                    d2_pinball_score(
                        y, predicted[:, :, i], sample_weight=sample_weight, alpha=level
                    )
                    for i, level in enumerate(levels)
                ]
            )
        )

    def _check_names(self):
        super()._check_names()
        self._regression_loss()

    def _regression_loss(self) -> Loss:
        kind = REGRESSION_LOSSES.get_named(
            self.loss, parameter="loss", owner=type(self).__name__
        )
        if kind is Pinball:
            return Pinball(np.atleast_1d(self.quantiles).tolist())
        return Tweedie(self.power) if kind is Tweedie else kind()

    def _make_targets(self, y, classes):
        several = self.loss == "quantile" and np.ndim(self.quantiles) > 0
        return RealTargets(y.shape[1:], self._regression_loss(), several=several)
